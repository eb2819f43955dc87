//! The subjects of commits.

use crate::invocation::Invocation;

/// The last commit before the rule.
const BASE: &str = "d21b82a";
const LONGEST: usize = 60;

/// `hash subject` of every commit since the rule, without merges. None where there is no history.
pub(super) fn subjects_since_base() -> Vec<String> {
    let range = format!("{BASE}..HEAD");
    let log = Invocation::new("git", ["log", "--no-merges", "--format=%h %s", range.as_str()]);
    log.output().unwrap_or_default().lines().map(str::to_owned).collect()
}

pub(super) fn violations(subjects: &[String]) -> Vec<&String> {
    let breaks_the_rule = |line: &&String| line.split_once(' ').is_none_or(|(_, subject)| !is_plain(subject));
    subjects.iter().filter(breaks_the_rule).collect()
}

fn is_plain(subject: &str) -> bool {
    let Some((area, change)) = subject.split_once(": ") else { return false };
    let verb = change.split(' ').next().unwrap_or_default();
    subject.chars().count() <= LONGEST
        && !area.is_empty()
        && area.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./,".contains(letter))
        && verb.starts_with(|letter: char| letter.is_ascii_lowercase())
        && !subject.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn subject_has_an_area_and_a_verb() {
        for subject in ["token: resolve the credential once", "docs: add a guide", "cli,agent: rename types"]
        {
            assert!(is_plain(subject), "{subject}");
        }
        let long = format!("token: {}", "a".repeat(60));
        for subject in
            ["resolve once", ": resolve", "token: Resolve", "token: resolve.", "my token: resolve", &long]
        {
            assert!(!is_plain(subject), "{subject}");
        }
    }
}
