//! The commands of the operator's guide.

use super::installed;

/// The pages in the order of reading: a page may use files of those before it.
const PAGES: [(&str, &str); 10] = [
    ("README.md", include_str!("../../../../../docs/operator/README.md")),
    ("try.md", include_str!("../../../../../docs/operator/try.md")),
    ("install.md", include_str!("../../../../../docs/operator/install.md")),
    ("unit.md", include_str!("../../../../../docs/operator/unit.md")),
    ("sidecar.md", include_str!("../../../../../docs/operator/sidecar.md")),
    ("nginx.md", include_str!("../../../../../docs/operator/nginx.md")),
    ("metrics.md", include_str!("../../../../../docs/operator/metrics.md")),
    ("rotate.md", include_str!("../../../../../docs/operator/rotate.md")),
    ("revoke.md", include_str!("../../../../../docs/operator/revoke.md")),
    ("debug.md", include_str!("../../../../../docs/operator/debug.md")),
];
/// Programs that need a network, a daemon or a cluster.
const NOT_RUN: [&str; 4] = ["apt-get", "cargo", "docker", "kubectl"];

/// Returns the commands in the `console` blocks of a page, with their here-documents.
fn commands(page: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    // The indentation of a block in a list.
    let mut block = None;
    let (mut continues, mut in_document) = (false, false);
    for line in page.lines() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            block = (kind == "console").then(|| line.len() - line.trim_start().len());
            continue;
        }
        let Some(text) = block.map(|indent| line.get(indent..).unwrap_or_default()) else { continue };
        match (text.strip_prefix("$ "), commands.last_mut()) {
            (_, Some(command)) if continues || in_document => {
                command.push_str(text);
                command.push('\n');
                in_document &= text != "END";
            }
            (Some(command), _) => {
                commands.push(format!("{command}\n"));
                in_document = command.contains("<<");
            }
            // Output.
            (None, _) => {}
        }
        continues = !in_document && text.ends_with('\\');
    }
    commands
}

#[test]
fn commands_are_found_in_a_page() {
    let page = "```console\n$ one \\\n    two\noutput\n$ cat > x <<'END'\n$ text\nEND\n```\n\n1. text\n\n   \
                ```console\n   $ cat <<END\n     y\n   END\n   ```\n\n```toml\n$ no\n```\n";
    let expected = ["one \\\n    two\n", "cat > x <<'END'\n$ text\nEND\n", "cat <<END\n  y\nEND\n"];
    assert_eq!(commands(page), expected);
}

#[test]
fn ops_48_commands_of_the_guide() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operator")).unwrap();
    assert_eq!(files.count(), PAGES.len(), "each page is run");
    let Some(machine) = installed() else { return };
    let (mut count, mut exported) = (0, String::new());
    // That of the emulator, which install.md starts.
    let mut resource = None;
    for (name, page) in PAGES {
        let is_run = |command: &String| NOT_RUN.iter().all(|program| !command.starts_with(program));
        let script: Vec<String> = commands(page).into_iter().filter(is_run).collect();
        count += script.len();
        let exports = script.iter().filter(|command| command.starts_with("export ")).cloned();
        let script = script.concat();
        let script = script.replace("https://contoso.vault.azure.net", resource.as_deref().unwrap_or("none"));
        let printed = machine.run(&format!("# {name}\nexport MANPAGER=cat\n{exported}{script}"));
        exported.extend(exports);
        let called = printed.split("symbolon call ").nth(1).and_then(|rest| rest.split(' ').next());
        resource = resource.or_else(|| called.map(str::to_owned));
    }
    assert!(count > 30, "{count} commands");
}
