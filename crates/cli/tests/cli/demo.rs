//! `symbolon demo`.

#[cfg(target_os = "linux")]
use std::process::Command;

use crate::run::{RunResult, symbolon};

#[test]
fn demo_02_text_ends_with_a_summary() {
    let ran = RunResult::of(symbolon().arg("demo").output().unwrap());
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("8 of 8 steps passed"), "{}", ran.stdout);
    let wide = ran.stdout.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "lines fit 80 columns");
    for expected in [
        "bound token, from another process:     401, certificate_missing",
        "bound token, with another certificate: 401, certificate_mismatch",
        "bearer token, from another process:    200, the thief has access",
    ] {
        assert!(ran.stdout.contains(expected), "{expected}\n{}", ran.stdout);
    }
}

#[test]
fn demo_01_all_steps_pass_without_configuration() {
    let ran = RunResult::of(symbolon().args(["demo", "--output", "json"]).output().unwrap());
    let [summary] = &ran.json()[..] else { panic!("one line: {ran:?}") };
    assert_eq!(summary["held"], true);
    let steps = summary["steps"].as_array().unwrap();
    let titles: Vec<&str> = steps.iter().filter_map(|step| step["title"].as_str()).collect();
    let begin = ["Detect", "Mint", "Exchange", "Call", "Request", "Steal", "Revoke", "Send"];
    let in_order = titles.iter().zip(begin).all(|(title, begin)| title.starts_with(begin));
    assert!(titles.len() == begin.len() && in_order, "{titles:?}");
    let holds = |step: &serde_json::Value| step["held"] == true && step["reason"].is_null();
    assert!(summary["steps"].as_array().unwrap().iter().all(holds));
}

/// Removes the program's file, so that the step with another process of it fails.
#[cfg(target_os = "linux")]
#[test]
fn demo_03_failed_step_is_named() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = folder.path().join("symbolon");
    for format in ["text", "json"] {
        std::fs::hard_link(env!("CARGO_BIN_EXE_symbolon"), &program).unwrap();
        let script = format!(
            "exec 3< '{0}'; rm '{0}'; exec /proc/self/fd/3 demo --output {format}",
            program.display()
        );
        let ran = RunResult::of(Command::new("/bin/sh").args(["-c", &script]).env_clear().output().unwrap());
        assert_eq!(ran.code, 1, "{ran:?}");
        if format == "text" {
            assert!(ran.stdout.contains("failed: ") && ran.stdout.contains("7 of 8 steps passed"), "{ran:?}");
            continue;
        }
        let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let broken = summary["steps"].as_array().unwrap().iter().filter(|step| step["held"] == false);
        let broken: Vec<_> = broken.map(|step| (step["title"].as_str().unwrap(), &step["reason"])).collect();
        let [(title, reason)] = broken[..] else { panic!("{broken:?}") };
        assert!(title.starts_with("Steal") && reason.is_string() && summary["held"] == false, "{summary}");
    }
}

#[test]
fn trace_log_contains_no_secret() {
    let ran = RunResult::of(symbolon().arg("demo").env("RUST_LOG", "trace").output().unwrap());
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.lines().count() > 10, "the log is short: {}", ran.stderr);
    let shown = format!("{}{}", ran.stdout, ran.stderr);
    // JWTs and their parts, certificate requests (`MII` in base64), PEM, forms.
    for secret in ["eyJ", "MII", "BEGIN", "client_secret", "access_token\":", "csr\":"] {
        let line = shown.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
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
fn replay_is_hidden() {
    let ran = RunResult::of(symbolon().arg("replay").stdin(std::process::Stdio::null()).output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("a part of `demo`"), "{}", ran.stderr);
    assert!(!RunResult::of(symbolon().arg("--help").output().unwrap()).stdout.contains("replay"));
}
