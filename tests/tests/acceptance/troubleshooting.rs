//! TROUBLESHOOTING.md has every error code and every kind.

use std::collections::BTreeMap;
use std::path::Path;

use symbolon::ErrorKind;

use crate::delegation::sources;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn page() -> String {
    std::fs::read_to_string(root().join("TROUBLESHOOTING.md")).unwrap()
}

/// The section of an error kind.
fn section<'a>(page: &'a str, kind: &str) -> &'a str {
    let behind = page.split_once(&format!("\n## {kind}\n")).map_or("", |(_, behind)| behind);
    behind.split("\n## ").next().unwrap_or_default()
}

/// Text in front of a code in the sources: an error kind, or a helper for one.
const MAKERS: [&str; 6] = ["known(", "request(", "let code = ", "unavailable: ", "failed: ", "code: "];

/// A code is a literal or constant after an error kind or a helper, or the first member of a tuple.
fn codes(source: &str) -> Vec<(String, Option<&str>)> {
    let production = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let takes_tuples = production.contains("let (code, ");
    let parts: Vec<&str> = production.split('"').collect();
    let mut found = Vec::new();
    for (index, text) in parts.iter().enumerate().skip(1).step_by(2) {
        let before = parts[index - 1];
        let kind = before
            .trim_end()
            .strip_suffix(',')
            .and_then(|before| Some(before.rsplit_once("ErrorKind::")?.1))
            .filter(|kind| kind.bytes().all(|byte| byte.is_ascii_alphabetic()));
        let is_in_tuple = takes_tuples
            && before.trim_end().ends_with('(')
            && !before.trim_end().trim_end_matches('(').ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let is_made = MAKERS.iter().any(|maker| before.ends_with(maker)) || kind.is_some() || is_in_tuple;
        let constant = before.rsplit_once("const ").and_then(|(_, rest)| rest.strip_suffix(": &str = "));
        let is_constant = constant.is_some_and(|name| {
            let behind_kind = |kind: &&str| {
                let rest = kind.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                rest.strip_prefix(',').is_some_and(|rest| rest.trim_start().starts_with(name))
            };
            production.split("ErrorKind::").skip(1).any(|kind| behind_kind(&kind))
        });
        let is_name = !text.is_empty() && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if is_name && (is_made || is_constant) {
            found.push(((*text).to_owned(), kind));
        }
    }
    found
}

#[test]
fn every_error_code_is_explained() {
    let page = page();
    let mut missing = BTreeMap::new();
    let mut count = 0;
    for file in sources(&root().join("crates")) {
        // The emulator returns the errors of the services that it imitates.
        if file.components().any(|part| part.as_os_str() == "emulator") || file.ends_with("tests.rs") {
            continue;
        }
        for (code, kind) in codes(&std::fs::read_to_string(&file).unwrap()) {
            count += 1;
            // Each kind has a section of its own.
            let section = kind.map_or(page.as_str(), |kind| section(&page, kind));
            if !section.contains(&format!("`{code}`")) {
                missing.insert((code, kind.map(str::to_owned)), file.clone());
            }
        }
    }
    assert!(count > 100, "fewer error codes were found in the sources than there are: {count}");
    assert!(missing.is_empty(), "TROUBLESHOOTING.md does not explain {missing:#?}");
}

#[test]
fn codes_are_found_however_an_error_is_made() {
    for (source, expected) in [
        (r#"Error::new(ErrorKind::Request, "one_code", "a text")"#, &["one_code"][..]),
        ("Error::new(\n    ErrorKind::Request,\n    \"one_code\",\n    \"text\")", &["one_code"]),
        (r#"(ErrorKind::Network, "timeout", "advice")"#, &["timeout"]),
        (r#"known("a_code", "sentence")"#, &["a_code"]),
        (r#"const BAD: &str = "a_code"; Error::new(ErrorKind::Request, BAD, error)"#, &["a_code"]),
        (r#"let (code, advice) = match x { _ => ("a_code", "b"), }; f("x", y)"#, &["a_code"]),
        (r#"pairs.append("grant_type", "x"); const GRANT: &str = "grant_type";"#, &[]),
    ] {
        let found: Vec<String> = codes(source).into_iter().map(|(code, _)| code).collect();
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn every_error_kind_has_a_section() {
    let page = page();
    for kind in [
        ErrorKind::Request,
        ErrorKind::Environment,
        ErrorKind::Credential,
        ErrorKind::Service,
        ErrorKind::Response,
        ErrorKind::Network,
    ] {
        assert!(page.lines().any(|line| line == format!("## {kind:?}")), "{kind:?}");
    }
}
