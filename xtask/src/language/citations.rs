//! Sections of documents, links between pages, and the headings they lead to.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::SourceFile;

/// Public documents besides RFCs whose sections are cited as `NAME §1.2`.
const DOCUMENTS: [&str; 16] = [
    "CSP Level 3",
    "FIPS 180-4",
    "FIPS 186-5",
    "OAuth 2.0 Multiple Response Type Encoding Practices",
    "OIDC Core",
    "OpenID Connect Core 1.0",
    "OpenID Connect Discovery 1.0",
    "PKCS#11 v3.0",
    "SEC 1",
    "TPM 2.0 Library",
    "WebDriver",
    "WHATWG URL",
    "X.509",
    "X.680",
    "X.690",
    "draft-irtf-cfrg-xchacha",
];
/// Prefixes of ids from documents that are not in the repository, each followed by a number.
const PRIVATE_IDS: [&str; 5] = ["DEV-", "NET-", "GO-", "H-", "finding "];

/// The address of the repository belongs into `repository` of Cargo.toml only.
const OWN_REPOSITORY: &str = "://github.com/symbolon";
/// Tests below cite wrongly.
const THIS_FILE: &str = "xtask/src/language/citations.rs";

/// Citations of a section without a public document in front, and of private ids.
pub(super) fn sections(files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path != THIS_FILE) {
        let mut previous = String::new();
        for (line, text) in file.lines() {
            let prose = text.trim_start().trim_start_matches(['/', '!']).trim();
            let offset = previous.len() + 1;
            let both = format!("{previous} {prose}");
            for (at, _) in both.match_indices('§').filter(|(at, _)| *at >= offset) {
                if !names_a_document(&both[..at]) {
                    found.push(format!("{}:{line}: {}", file.path, prose));
                }
            }
            if PRIVATE_IDS.iter().any(|id| has_number_after(prose, id)) {
                found.push(format!("{}:{line}: {}", file.path, prose));
            }
            previous = prose.to_owned();
        }
    }
    found.dedup();
    found
}

/// Text that ends with the name of a document, or with sections of it: `RFC 8017 §9.1 and`.
fn names_a_document(text: &str) -> bool {
    let mut text = text.trim_end();
    loop {
        let before = text;
        for word in ["and", "or", "to", ",", "–", "/"] {
            text = text.strip_suffix(word).unwrap_or(text).trim_end();
        }
        let (rest, last) = text.rsplit_once([' ', '(']).unwrap_or(("", text));
        if last.starts_with('§') {
            text = rest.trim_end();
        }
        if text == before {
            break;
        }
    }
    // `TPM 2.0 Library, part 1, §16`.
    let document = match text.rsplit_once(", part ") {
        Some((document, number)) if number.parse::<u8>().is_ok() => document,
        _ => text,
    };
    let rfc = document.rsplit_once("RFC ").is_some_and(|(_, number)| number.parse::<u16>().is_ok());
    rfc || DOCUMENTS.iter().any(|name| document.ends_with(name))
}

fn has_number_after(text: &str, id: &str) -> bool {
    text.match_indices(id).any(|(at, _)| {
        let starts_a_word = !text[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '-');
        starts_a_word && text[at + id.len()..].starts_with(|letter: char| letter.is_ascii_digit())
    })
}

/// Lines with the address of the repository, which crates take from Cargo.toml.
pub(super) fn repository_addresses(files: &[SourceFile]) -> Vec<String> {
    let lines = files.iter().filter(|file| file.path != THIS_FILE);
    let lines = lines.flat_map(|file| file.lines().map(move |(line, text)| (file, line, text)));
    lines
        .filter(|(_, _, text)| text.contains(OWN_REPOSITORY))
        .map(|(file, line, text)| format!("{}:{line}: {}", file.path, text.trim()))
        .collect()
}

/// Relative links in pages and citations `docs/….md#heading` anywhere, without a target.
pub(super) fn links(files: &[SourceFile]) -> Vec<String> {
    let headings: BTreeMap<&str, BTreeSet<String>> = files
        .iter()
        .filter(|file| !file.is_rust())
        .map(|file| (file.path.as_str(), headings(&file.text)))
        .collect();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path != THIS_FILE) {
        let mut in_code = false;
        for (line, text) in file.lines() {
            in_code ^= text.trim_start().starts_with("```");
            let relative = relative_links(text).filter(|_| !file.is_rust() && !in_code);
            let relative = relative.map(|link| join(&file.path, link));
            for target in relative.chain(citations(text).map(str::to_owned)) {
                if !leads_somewhere(&target, &headings) {
                    found.push(format!("{}:{line}: {target}", file.path));
                }
            }
        }
    }
    found
}

/// Targets of `](…)` that are neither an address nor a path of Rust.
fn relative_links(line: &str) -> impl Iterator<Item = &str> {
    let links = line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split_once(')'));
    links.map(|(link, _)| link).filter(|link| !link.contains("://") && !link.contains("::"))
}

/// Words like `docs/protocol/imdsv2.md#probe`.
fn citations(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !(letter.is_ascii_alphanumeric() || "_./#-".contains(letter)))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| !word.starts_with("..") && !word.contains("FILE"))
        .filter(|word| word.starts_with("docs/") || word.contains("/docs/"))
        .filter(|word| word.ends_with(".md") || word.contains(".md#"))
}

/// A link of a page as a path from the root.
fn join(page: &str, link: &str) -> String {
    if link.starts_with('#') {
        return format!("{page}{link}");
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/').filter(|part| *part != ".") {
        if part == ".." { parts.pop().map_or((), drop) } else { parts.push(part) }
    }
    parts.join("/")
}

fn leads_somewhere(target: &str, headings: &BTreeMap<&str, BTreeSet<String>>) -> bool {
    match target.split_once('#') {
        Some((page, slug)) => headings.get(page).is_some_and(|slugs| slugs.contains(slug)),
        None => std::path::Path::new(target).exists(),
    }
}

/// The headings of a page as slugs: lower case, hyphens for spaces, a number after a repeated one.
fn headings(page: &str) -> BTreeSet<String> {
    let mut slugs = BTreeSet::new();
    let mut in_code = false;
    for line in page.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let text = line.trim_start_matches('#');
        if in_code || text.len() == line.len() || !text.starts_with(' ') {
            continue;
        }
        let kept = text.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        let slug = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let mut numbered = (1..).map(|number| format!("{slug}-{number}"));
        let free = if slugs.contains(&slug) { numbered.find(|slug| !slugs.contains(slug)) } else { None };
        slugs.insert(free.unwrap_or(slug));
    }
    slugs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn section_needs_a_public_document() {
        for text in [
            "/// (RFC 6749 §5.1)",
            "// RFC 8017 §9.1 and §9.2, §8",
            "/// the table of RFC 9110\n/// §5.6.7",
            "//! TPM 2.0 Library, part 1, §16",
            "OIDC Core §3.1.2.1",
        ] {
            assert_eq!(sections(&[file("a.rs", text)]), [""; 0], "{text}");
        }
        for text in
            ["// IMDSv2 §2.2", "/// §7.7", "/// RFC §3", "/// DEV-13", "// see finding 4", "//! NET-01, X"]
        {
            assert_eq!(sections(&[file("a.rs", text)]).len(), 1, "{text}");
        }
    }

    #[test]
    fn link_and_citation_need_a_target() {
        let guide = "# The guide\n[a](../docs/guide.md#the-guide) [b](#steps-1) [c](https://x/y)\n## Steps\n## Steps\n";
        let page = file("docs/guide.md", guide);
        assert_eq!(links(&[page, file("a.rs", "// docs/guide.md#steps.")]), [""; 0]);
        let found = links(&[
            file("docs/guide.md", "# A\n[b](#b) [c](none.md)\n```\n# B\n```\n"),
            file("a.rs", "// crates/x/docs/none.md, docs/guide.md#b"),
        ]);
        let expected = [
            "docs/guide.md:2: docs/guide.md#b",
            "docs/guide.md:2: docs/none.md",
            "a.rs:1: crates/x/docs/none.md",
            "a.rs:1: docs/guide.md#b",
        ];
        assert_eq!(found, expected);
    }
}
