//! `symbolon completions` and `symbolon man`.

use std::process::{Command, Stdio};

use crate::run::{RunResult, skip_without, symbolon};

const SUBCOMMANDS: &[&str] = &[
    "app-token",
    "binding",
    "call",
    "completions",
    "demo",
    "emulate",
    "exec",
    "explain",
    "inspect",
    "man",
    "proxy",
    "serve",
    "token",
];

#[test]
fn installed_shells_accept_completions() {
    for (shell, check) in [
        ("bash", Some("-n")),
        ("zsh", Some("-n")),
        ("fish", Some("-n")),
        ("elvish", None),
        ("powershell", None),
    ] {
        let script = RunResult::of(symbolon().args(["completions", shell]).output().unwrap());
        assert_eq!((script.code, script.stderr.as_str()), (0, ""), "{shell}");
        for name in SUBCOMMANDS {
            assert!(script.stdout.contains(name), "{shell} knows no {name}");
        }
        let Some(check) = check else { continue };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script");
        std::fs::write(&file, &script.stdout).unwrap();
        match Command::new(shell).arg(check).arg(&file).output() {
            Ok(checked) => {
                assert!(checked.status.success() && checked.stderr.is_empty(), "{shell}: {checked:?}");
            }
            Err(_) => skip_without(shell),
        }
    }
}

#[test]
fn bash_completes_options_and_values() {
    let script = RunResult::of(symbolon().args(["completions", "bash"]).output().unwrap()).stdout;
    let complete = |line: &[&str]| {
        let words: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
        let test = format!(
            "{script}\nCOMP_WORDS=({}) COMP_CWORD={}\n_symbolon symbolon '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            line.len() - 1,
            line[line.len() - 1],
            line[line.len() - 2]
        );
        let output = Command::new("bash").args(["-c", &test]).stderr(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["symbolon", "ser"]), ["serve"]);
    assert_eq!(complete(&["symbolon", "serve", "--al"]), ["--allow"]);
    assert!(complete(&["symbolon", "token", "--key", ""]).contains(&"p-256".to_owned()));
}

#[test]
fn man_pages_render_in_80_columns() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    let ran = RunResult::of(symbolon().args(["man", "--out", out.to_str().unwrap()]).output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    let pages = SUBCOMMANDS.iter().map(|name| format!("symbolon-{name}.1")).chain(["symbolon.1".to_owned()]);
    for page in pages {
        let file = out.join(&page);
        assert!(std::fs::read_to_string(&file).unwrap().contains(".SH NAME"), "{page}");
        let rendered = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(&file)
            .env("MANWIDTH", "80")
            .env("MANPAGER", "cat")
            .output();
        let Ok(rendered) = rendered else {
            skip_without("man");
            return;
        };
        let text = String::from_utf8_lossy(&rendered.stdout);
        assert!(rendered.status.success() && rendered.stderr.is_empty(), "{page}: {rendered:?}");
        assert!(text.contains("SYNOPSIS") && text.contains("symbolon"), "{page}: {text}");
    }
}

#[test]
fn unwritable_folder_is_named() {
    let ran = RunResult::of(symbolon().args(["man", "--out", "/dev/null/x"]).output().unwrap());
    assert!(ran.code == 2 && ran.stderr.contains("--out /dev/null/x"), "{}", ran.stderr);
}
