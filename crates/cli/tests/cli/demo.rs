//! `symbolon demo`.

use std::collections::HashSet;

use crate::run::{Ran, symbolon};

#[test]
fn the_story_holds_without_any_configuration() {
    let ran = Ran::of(symbolon().arg("demo").output().unwrap());
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("8 of 8 steps held"), "{}", ran.stdout);
    let wide = ran.stdout.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "it fits a terminal of 80 columns");
    for told in [
        "bound token, from another process:     401, certificate_missing",
        "bound token, with another certificate: 401, certificate_mismatch",
        "bearer token, from another process:    200, the thief is in",
    ] {
        assert!(ran.stdout.contains(told), "{told}\n{}", ran.stdout);
    }
}

#[test]
fn the_story_is_there_for_programs_too() {
    let ran = Ran::of(symbolon().args(["demo", "--output", "json"]).output().unwrap());
    let [summary] = &ran.json()[..] else { panic!("one line: {ran:?}") };
    assert_eq!(summary["held"], true);
    let titles: HashSet<&str> =
        summary["steps"].as_array().unwrap().iter().filter_map(|step| step["title"].as_str()).collect();
    assert_eq!(titles.len(), 8);
    let holds = |step: &serde_json::Value| step["held"] == true && step["reason"].is_null();
    assert!(summary["steps"].as_array().unwrap().iter().all(holds));
}

#[test]
fn not_even_the_most_talkative_log_shows_a_secret() {
    let ran = Ran::of(symbolon().arg("demo").env("RUST_LOG", "trace").output().unwrap());
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.lines().count() > 10, "it is talkative: {}", ran.stderr);
    let shown = format!("{}{}", ran.stdout, ran.stderr);
    // JWTs and their parts, certificate requests (`MII` in base64), PEM, forms.
    for telling in ["eyJ", "MII", "BEGIN", "client_secret", "access_token\":", "csr\":"] {
        let line = shown.lines().find(|line| line.contains(telling));
        assert_eq!(line, None, "{telling}");
    }
    let long = |word: &&str| word.len() > 60 && !word.contains("::") && !word.contains('/');
    let words = shown.split(|c: char| !(c.is_ascii_alphanumeric() || "-_+/=.:".contains(c)));
    assert_eq!(
        words.filter(long).collect::<Vec<_>>(),
        Vec::<&str>::new(),
        "nothing looks like a token or a key"
    );
}

#[test]
fn the_thief_is_not_a_command_for_people() {
    let ran = Ran::of(symbolon().arg("replay").stdin(std::process::Stdio::null()).output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("a part of `demo`"), "{}", ran.stderr);
    assert!(!Ran::of(symbolon().arg("--help").output().unwrap()).stdout.contains("replay"));
}
