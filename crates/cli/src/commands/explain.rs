//! `symbolon explain`.

use std::process::ExitCode;

use serde::Serialize;
use symbolon::Error;

use crate::args::tools::ExplainOptions;
use crate::failure;
use crate::output::{OutputFormat, line, row};
use crate::stdout::print_line;
use crate::troubleshooting::{Explanation, explain, similar_codes};

/// Prefix of the numbers of Microsoft's token service.
const AADSTS: &str = "AADSTS";
/// Width of the labels in the text.
const LABEL_WIDTH: usize = 12;

#[derive(Serialize)]
struct ExplainJson<'a> {
    code: &'a str,
    explanations: &'a [Explanation],
}

pub(crate) fn run(options: &ExplainOptions, format: OutputFormat) -> Result<ExitCode, Error> {
    let code = normalize(&options.code);
    let explanations = explain(&code);
    if explanations.is_empty() {
        return Err(unknown(&code));
    }
    match format {
        OutputFormat::Json => {
            print_line(line(&ExplainJson { code: &code, explanations: &explanations }))?;
        }
        _ => print_line(text(&code, &explanations))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Accepts `AADSTS700016`, `aadsts700016` and `700016`; all other codes are in lower case.
fn normalize(code: &str) -> String {
    let code = code.trim().to_ascii_lowercase();
    let number = code.strip_prefix("aadsts").unwrap_or(&code);
    if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("{AADSTS}{number}");
    }
    code
}

fn unknown(code: &str) -> Error {
    // Numbers with similar digits are unrelated.
    let similar = if code.starts_with(AADSTS) { Vec::new() } else { similar_codes(code) };
    let advice = match &similar[..] {
        [] => "read the message of the service in the error".to_owned(),
        similar => format!("did you mean {}?", similar.join(", ")),
    };
    failure::request("invalid_usage", format!("there is no explanation of the code '{code}'"))
        .with_advice(advice)
}

fn text(code: &str, explanations: &[Explanation]) -> String {
    let mut text = vec![code.to_owned()];
    let mut add = |label: &str, value: &str| text.push(row(label, LABEL_WIDTH, value));
    for explanation in explanations {
        add("", "");
        add("error kind", &explanation.kind);
        add("meaning", &explanation.meaning);
        add("what to do", &explanation.advice);
        for case in &explanation.cases {
            add("", "");
            add("case", &case.case);
            if let Some(meaning) = &case.meaning {
                add("meaning", meaning);
            }
            add("what to do", &case.advice);
        }
    }
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_case_are_normalized() {
        for (given, expected) in [
            ("AADSTS700016", "AADSTS700016"),
            ("aadsts700016", "AADSTS700016"),
            (" 700016 ", "AADSTS700016"),
            ("Invalid_Client", "invalid_client"),
            ("", ""),
        ] {
            assert_eq!(normalize(given), expected);
        }
    }
}
