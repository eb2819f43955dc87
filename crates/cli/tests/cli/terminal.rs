//! The session of the operator's guide at two terminals.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use crate::run::{RunResult, RunningCommand, TestEnv, skip_without};

const PAGE: &str = include_str!("../../../../docs/operator/try.md");
/// The resource on the page.
const RESOURCE: &str = "https://contoso.vault.azure.net";

/// Returns the blocks of this kind.
fn blocks<'a>(page: &'a str, kind: &str) -> Vec<&'a str> {
    let parts = page.split("```").skip(1).step_by(2);
    parts.filter_map(|block| block.strip_prefix(kind)?.strip_prefix('\n')).collect()
}

/// Replaces what differs in each run: times, ports, ids, thumbprints, secrets and durations.
fn masked(line: &str) -> String {
    let mut text = line.trim_end().to_owned();
    if text.get(10..11) == Some("T") && text.get(19..20) == Some("Z") {
        text.replace_range(..20, "TIME");
    }
    for (before, after) in [
        ("127.0.0.1:", &['/', '\'', ':', ' '][..]),
        ("\"appid\":\"", &['"']),
        ("\"x5t#S256\":\"", &['"']),
        ("SECRET='", &['\'']),
        (
            "symbolon_token_expires_in_seconds{identity=\"system\",resource=\"https://vault.azure.net\"} ",
            &[' '],
        ),
    ] {
        let Some(start) = text.find(before).map(|at| at + before.len()) else { continue };
        let end = text[start..].find(after).map_or(text.len(), |length| start + length);
        text.replace_range(start..end, "…");
    }
    text
}

/// Reads lines up to one with this text.
fn read_until(lines: &mut Lines<BufReader<ChildStdout>>, text: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.contains(text)) {
        let line = lines.next().unwrap_or_else(|| panic!("no line with {text}: {seen:?}")).unwrap();
        seen.push(line.trim_end().to_owned());
    }
    seen
}

/// Returns the value of a variable that was printed.
fn variable<'a>(printed: &'a [String], name: &str) -> &'a str {
    let prefix = format!("export {name}='");
    let value = printed.iter().find_map(|line| line.strip_prefix(&prefix)?.strip_suffix('\''));
    value.unwrap_or_else(|| panic!("{name}: {printed:?}"))
}

/// Writes a program that prints the id in a file, in place of pgrep(1).
fn write_pgrep(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let program = folder.join("pgrep");
    std::fs::write(&program, "#!/bin/sh\nexec cat id\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn prx_16_session_of_the_guide() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    write_pgrep(folder.path());
    let resource = env.emulator.resource_url();
    let [routes] = blocks(PAGE, "toml")[..] else { panic!("one file") };
    std::fs::write(folder.path().join("vault.toml"), routes.replace(RESOURCE, resource)).unwrap();
    let [first, second] = blocks(PAGE, "text")[..] else { panic!("two terminals") };

    let (start, expected) = first.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
    let program = start.replacen("symbolon", env!("CARGO_BIN_EXE_symbolon"), 1);
    // A free port.
    let program = program.replace(":9464", ":0");
    let symbolon = env.symbolon();
    let mut script = Command::new("script");
    script.args(["-qefc", &format!("echo $$ > id; exec {program}"), "/dev/null"]).env_clear();
    script.envs(symbolon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("SHELL", "/bin/sh").env("TERM", "xterm").current_dir(folder.path());
    let Ok(mut child) = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        return skip_without("script");
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _running = RunningCommand(child);
    let mut log = read_until(&mut lines, "SYMBOLON_STATUS_URL");

    let mut printed = Vec::new();
    for command in second.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command]).current_dir(folder.path());
        shell.env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
        for name in ["SYMBOLON_PROXY_URL", "SYMBOLON_PROXY_SECRET", "SYMBOLON_STATUS_URL"] {
            shell.env(name, variable(&log, name));
        }
        let ran = RunResult::of(shell.output().unwrap());
        if ran.code == 127 {
            return skip_without("curl");
        }
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{command}");
        printed.push(format!("$ {command}"));
        printed.extend(ran.stdout.lines().map(str::to_owned));
        for (end, line) in [("-HUP", "read again"), ("-TERM", "stopping")] {
            if command.contains(end) {
                log.extend(read_until(&mut lines, line));
            }
        }
    }
    assert_eq!(lines.count(), 0, "it has ended");
    let actual = |lines: &[String]| -> Vec<String> { lines.iter().map(|line| masked(line)).collect() };
    let on_page = |text: &str| -> Vec<String> { text.lines().map(masked).collect() };
    assert_eq!(actual(&log), on_page(expected), "the first terminal:\n{}", log.join("\n"));
    assert_eq!(actual(&printed), on_page(second), "the second terminal:\n{}", printed.join("\n"));
}
