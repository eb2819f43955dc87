//! Doc summaries and the width of lines.

use std::fmt;

use crate::source::SourceFile;

/// Widest line of a comment or a page.
pub(super) const WIDEST_LINE: usize = 100;

const QUESTION_WORDS: [&str; 10] =
    ["what", "who", "whom", "whose", "how", "whether", "where", "why", "when", "which"];

/// The first line of a `///` or `//!` block.
#[derive(Debug)]
pub(super) struct DocSummary<'files> {
    file: &'files SourceFile,
    line: usize,
    text: &'files str,
}

impl DocSummary<'_> {
    pub(super) fn is_question(&self) -> bool {
        let first = self.text.split(|letter: char| !letter.is_alphabetic()).next().unwrap_or_default();
        QUESTION_WORDS.contains(&first.to_ascii_lowercase().as_str())
    }
}

impl fmt::Display for DocSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.path, self.line, self.text)
    }
}

pub(super) fn all(files: &[SourceFile]) -> Vec<DocSummary<'_>> {
    let mut summaries = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let mut inside = false;
        for (line, text) in file.lines() {
            let doc = doc_text(text);
            if let Some(text) = doc.filter(|_| !inside) {
                summaries.push(DocSummary { file, line, text });
            }
            inside = doc.is_some();
        }
    }
    summaries
}

/// Comment lines and Markdown lines that are too wide. Tables, code and lines that cannot break are
/// exempt.
pub(super) fn wide_lines(files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let mut in_code = false;
        for (line, text) in file.lines() {
            let trimmed = text.trim_start();
            let prose = match file.is_rust() {
                true => trimmed.strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!']).trim()),
                false => Some(trimmed),
            };
            let Some(prose) = prose else { continue };
            in_code ^= prose.starts_with("```");
            let breaks = prose.trim_start_matches(['-', '*', '>', ' ']).contains(' ');
            if text.chars().count() > WIDEST_LINE && !in_code && breaks && !prose.starts_with('|') {
                found.push(format!("{}:{line}: {} columns", file.path, text.chars().count()));
            }
        }
    }
    found
}

fn doc_text(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    (!rest.starts_with('/')).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> [SourceFile; 1] {
        [SourceFile { path: path.to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn only_the_first_line_of_a_block_counts() {
        let text = "//! Which file.\n//! How it works.\n\n/// However.\n/// What.\nfn f() {}\n    /// who\n";
        let files = file("a.rs", text);
        let questions: Vec<_> = all(&files).into_iter().filter(DocSummary::is_question).collect();
        let questions: Vec<_> = questions.iter().map(ToString::to_string).collect();
        assert_eq!(questions, ["a.rs:1: Which file.", "a.rs:7: who"]);
        assert_eq!(all(&files).len(), 3);
    }

    #[test]
    fn wide_prose_is_found() {
        let wide = "a ".repeat(60);
        let word = "a".repeat(120);
        let pages = [
            ("a.rs", format!("// {wide}\n"), 1),
            ("a.rs", format!("let x = \"{wide}\";\n// {word}\n/// | {wide} |\n"), 0),
            ("a.md", format!("{wide}\n| {wide} |\n```\n{wide}\n```\n- {word}\n"), 1),
        ];
        for (path, text, count) in pages {
            assert_eq!(wide_lines(&file(path, &text)).len(), count, "{text}");
        }
    }
}
