//! The explanations of error codes in TROUBLESHOOTING.md.

use serde::Serialize;

const PAGE: &str = include_str!("../TROUBLESHOOTING.md");
/// The sections of the page that explain codes: one for each kind of error.
const KINDS: [&str; 6] = ["Request", "Environment", "Credential", "Service", "Response", "Network"];
/// Minimum Jaro similarity of a suggested code; clap uses the same for options.
const MIN_SIMILARITY: f64 = 0.7;
const MAX_SUGGESTIONS: usize = 3;

/// An entry of the page, in plain text. A code that occurs in errors of several kinds has several.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub(crate) kind: String,
    #[serde(skip)]
    codes: Vec<&'static str>,
    pub(crate) meaning: String,
    pub(crate) advice: String,
    pub(crate) cases: Vec<ExplanationCase>,
}

/// A row of an entry's table, for example of one HTTP status.
#[derive(Debug, Serialize)]
pub(crate) struct ExplanationCase {
    pub(crate) case: String,
    pub(crate) meaning: Option<String>,
    pub(crate) advice: String,
}

/// Returns the explanations of a code.
pub(crate) fn explain(code: &str) -> Vec<Explanation> {
    let mut explanations = parse(PAGE);
    explanations.retain(|explanation| explanation.codes.contains(&code));
    explanations
}

/// Returns the codes most similar to an unknown one, best first.
pub(crate) fn similar_codes(code: &str) -> Vec<&'static str> {
    let mut codes: Vec<_> = parse(PAGE).into_iter().flat_map(|explanation| explanation.codes).collect();
    codes.sort_unstable();
    codes.dedup();
    let mut rated: Vec<_> = codes.into_iter().map(|known| (strsim::jaro(code, known), known)).collect();
    rated.retain(|(similarity, _)| *similarity > MIN_SIMILARITY);
    rated.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    rated.into_iter().map(|(_, known)| known).take(MAX_SUGGESTIONS).collect()
}

/// Parses the sections of the page. Below the heading of a kind, a code has either a heading, two
/// bullet points and optionally a table of cases, or a row of a table whose first column is `code`.
fn parse(page: &'static str) -> Vec<Explanation> {
    let mut explanations: Vec<Explanation> = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let (kind, body) = section.split_once('\n').unwrap_or_default();
        if KINDS.contains(&kind) {
            for block in body.split("\n### ").skip(1) {
                let (heading, body) = block.split_once('\n').unwrap_or_default();
                parse_block(&kind.to_ascii_lowercase(), heading, body, &mut explanations);
            }
        }
    }
    explanations
}

fn parse_block(kind: &str, heading: &'static str, body: &'static str, to: &mut Vec<Explanation>) {
    let entry = |codes, meaning, advice| Explanation {
        kind: kind.to_owned(),
        codes,
        meaning,
        advice,
        cases: Vec::new(),
    };
    let bullet = |name: &str| {
        let text = body.split_once(name).map_or("", |(_, text)| text);
        plain(text.split("\n- ").next().unwrap_or_default().split("\n\n").next().unwrap_or_default())
    };
    let mut explanation = entry(codes(heading), bullet("- **Meaning.**"), bullet("- **What to do.**"));
    let mut lines = body.lines().map(str::trim).filter(|line| line.starts_with('|'));
    let lists_codes = lines.next().is_some_and(|header| header.starts_with("| code |"));
    for line in lines.skip(1) {
        let cells: Vec<&'static str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [first, meaning @ .., advice] = &cells[..] else { continue };
        let meaning = meaning.first().map(|meaning| plain(meaning));
        if lists_codes {
            to.push(entry(codes(first), meaning.unwrap_or_default(), plain(advice)));
        } else {
            explanation.cases.push(ExplanationCase { case: plain(first), meaning, advice: plain(advice) });
        }
    }
    if !lists_codes {
        to.push(explanation);
    }
}

/// Returns the words of a text that are set as code.
fn codes(text: &'static str) -> Vec<&'static str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns Markdown as plain text on one line: without emphasis and with the text of links only.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        let (label, after) = link.split_once("](").unwrap_or((link, ""));
        text.push_str(before);
        text.push_str(label);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("**", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_page_is_complete() {
        let explanations = parse(PAGE);
        assert!(explanations.len() > 60, "{}", explanations.len());
        for explanation in explanations {
            assert!(!explanation.codes.is_empty(), "{explanation:?}");
            assert!(!explanation.meaning.is_empty() && !explanation.advice.is_empty(), "{explanation:?}");
            for case in explanation.cases {
                assert!(!case.case.is_empty() && !case.advice.is_empty(), "{case:?}");
            }
        }
    }

    #[test]
    fn every_number_with_advice_is_explained() {
        let missing: Vec<u32> = symbolon::parts::types::advice::advised_numbers()
            .filter(|number| explain(&format!("AADSTS{number}")).is_empty())
            .collect();
        assert_eq!(missing, Vec::<u32>::new());
    }

    #[test]
    fn no_kind_explains_a_code_twice() {
        let mut entries: Vec<_> = parse(PAGE)
            .into_iter()
            .flat_map(|entry| entry.codes.into_iter().map(move |code| (entry.kind.clone(), code)))
            .collect();
        entries.sort_unstable();
        let twice = entries.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
    }

    #[test]
    fn markdown_becomes_plain_text() {
        assert_eq!(plain("a **bold** [link](#x),\n  `code`"), "a bold link, `code`");
    }
}
