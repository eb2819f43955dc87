//! What the test program said: one line per test.

/// A test and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TestResult {
    pub(super) name: String,
    pub(super) ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Passed,
    Failed,
    Ignored,
}

impl Ending {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Ignored => "ignored",
        }
    }
}

/// Reads `test path::name ... ok`, `FAILED` or `ignored`, the lines of libtest.
pub(super) fn parse(output: &str) -> Vec<TestResult> {
    output.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<TestResult> {
    let (name, ending) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let ending = match ending.split(',').next()?.trim() {
        "ok" => Ending::Passed,
        "FAILED" => Ending::Failed,
        "ignored" => Ending::Ignored,
        _ => return None,
    };
    let name = name.split(" - ").next()?;
    Some(TestResult { name: name.to_owned(), ending })
}

/// The part of the output that says why tests failed.
pub(super) fn failures(output: &str) -> Option<&str> {
    output.find("\nfailures:\n").map(|start| output[start..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 4 tests
test cfg_04_secret_is_refused_for_pop ... ok
test delegation::del_05_one_mint_only ... FAILED
test http_06_cancelled ... ignored, needs a network namespace
test tls::a_panic_is_expected - should panic ... ok

failures:

---- delegation::del_05_one_mint_only stdout ----
assertion `left == right` failed

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn every_test_line_is_read_and_no_other() {
        let read: Vec<_> = parse(OUTPUT).into_iter().map(|test| (test.name, test.ending)).collect();
        let expected = [
            ("cfg_04_secret_is_refused_for_pop", Ending::Passed),
            ("delegation::del_05_one_mint_only", Ending::Failed),
            ("http_06_cancelled", Ending::Ignored),
            ("tls::a_panic_is_expected", Ending::Passed),
        ];
        assert_eq!(read, expected.map(|(name, ending)| (name.to_owned(), ending)));
    }

    #[test]
    fn the_reasons_of_failures_are_kept() {
        let reasons = failures(OUTPUT).expect("a failure");
        assert!(reasons.starts_with("failures:\n\n---- delegation::del_05"), "{reasons}");
        assert_eq!(failures("running 0 tests\n"), None);
    }
}
