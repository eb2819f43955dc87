//! The measurable rules of language: names, summaries, widths, citations, commit subjects.

mod citations;
mod commits;
mod names;
mod summaries;

use clap::Args;

use crate::report::Checklist;
use crate::source::SourceFile;

/// Doc summaries that may begin with a question word, in percent.
const QUESTIONS: f64 = 1.0;
/// Type names that may be defined more than once, in percent.
const AMBIGUOUS_TYPES: f64 = 5.0;

/// Check names, doc summaries, line widths, citations and commit subjects
#[derive(Debug, Default, Args)]
pub(crate) struct LanguageArgs {
    /// Print only violations that name this path, such as crates/token
    path: Option<String>,
    /// Print every violation, not only the first of each check
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(arguments: &LanguageArgs) -> Result<(), String> {
    let files = SourceFile::all()?;
    let mut report =
        Checklist::new(if arguments.all { usize::MAX } else { 20 }).naming(arguments.path.as_deref());

    let summaries = summaries::all(&files);
    let questions: Vec<_> = summaries.iter().filter(|summary| summary.is_question()).collect();
    report.tolerating(
        share("doc summaries begin with a question word", questions.len(), summaries.len(), QUESTIONS),
        tolerated(summaries.len(), QUESTIONS),
        &questions,
    );

    let names = names::all(&files)?;
    let ambiguous = names.ambiguous_types();
    report.tolerating(
        share("type names are defined more than once", ambiguous.len(), names.types(), AMBIGUOUS_TYPES),
        tolerated(names.types(), AMBIGUOUS_TYPES),
        &ambiguous,
    );
    report.checked(
        format!("names of tests have at most {} characters", names::LONGEST_TEST),
        &names.long_tests(),
    );
    report.checked(
        format!("comments and pages are at most {} columns wide", summaries::WIDEST_LINE),
        &summaries::wide_lines(&files),
    );
    report.checked("citations name a public document and a section", &citations::sections(&files));
    report.checked("links and citations lead to a page and a heading", &citations::links(&files));
    report.checked(
        "the address of the repository stands in Cargo.toml only",
        &citations::repository_addresses(&files),
    );
    let subjects = commits::subjects_since_base();
    report.checked(
        format!("{} commit subjects are `area: imperative`, at most 60 characters", subjects.len()),
        &commits::violations(&subjects),
    );
    report.verdict()
}

fn share(subject: &str, found: usize, all: usize, limit: f64) -> String {
    let percent = 100.0 * found as f64 / all.max(1) as f64;
    format!("{found} of {all} {subject}: {percent:.1} %, below {limit} %")
}

/// The largest count below `percent` of `all`.
fn tolerated(all: usize, percent: f64) -> usize {
    ((all as f64 * percent / 100.0).ceil() as usize).saturating_sub(1)
}
