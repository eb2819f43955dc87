//! The suggestion for an unknown option.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;

/// Minimum Jaro similarity of a suggested option that has no common word with the unknown one.
/// Clap's own minimum, 0.7, suggests `--scope` for `--secret`.
const MIN_SIMILARITY: f64 = 0.85;

/// Names of other tools and commands, with the option that each means here.
const OTHER_NAMES: [(&str, &str); 9] = [
    ("client-id", "identity"),
    ("object-id", "identity"),
    ("resource-id", "identity"),
    ("scope", "resource"),
    ("scopes", "resource"),
    ("resource", "scope"),
    ("tenant", "authority"),
    ("tenant-id", "authority"),
    ("json", "output"),
];

/// Replaces clap's suggestion for an unknown option by an option with a common word or a similar
/// spelling, if there is one.
pub(crate) fn correct(error: &mut clap::Error, arguments: &[String]) {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return };
    let given = match given.strip_prefix("--") {
        Some(given) if error.kind() == ErrorKind::UnknownArgument => given,
        _ => return,
    };
    let mut root = Cli::command();
    root.build();
    let command = arguments.iter().find_map(|argument| root.find_subcommand(argument)).unwrap_or(&root);
    let options = command.get_arguments().filter(|option| !option.is_hide_set());
    let options: Vec<&str> = options.filter_map(clap::Arg::get_long).collect();
    let other_name = OTHER_NAMES.iter().find(|(name, option)| *name == given && options.contains(option));
    let rated = options.iter().map(|option| (rating(given, option), *option));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    let best = best.filter(|(rating, _)| *rating > MIN_SIMILARITY).map(|(_, option)| option);
    match other_name.map(|(_, option)| *option).or(best) {
        Some(option) => {
            error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{option}")));
        }
        None => {
            error.remove(ContextKind::SuggestedArg);
        }
    }
}

/// Returns the similarity of two options, more for a longer common word. `no` does not count.
fn rating(given: &str, option: &str) -> f64 {
    let common = given.split('-').filter(|word| option.split('-').any(|other| *word == other));
    let longest = common.map(str::len).filter(|length| *length > 2).max().unwrap_or_default();
    strsim::jaro(given, option) + f64::from(u16::try_from(longest).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn suggested_options_are_related() {
        for (command, given, expected) in [
            ("app-token", "--secret", Some("--client-secret-env")),
            ("app-token", "--cert", None),
            ("app-token", "--client-assertion", Some("--assertion-file")),
            ("app-token", "--no-cache", None),
            ("app-token", "--certifcate", Some("--certificate")),
            ("token", "--resorce", Some("--resource")),
            ("token", "--po", Some("--pop")),
            ("token", "--secret", None),
            ("token", "--client-id", Some("--identity")),
            ("call", "--scope", Some("--resource")),
            ("app-token", "--resource", Some("--scope")),
            ("app-token", "--tenant-id", Some("--authority")),
            ("inspect", "--json", Some("--output")),
            ("serve", "--lisen", Some("--listen")),
            ("demo", "--out", None),
            ("demo", "--ouput", Some("--output")),
        ] {
            let arguments = ["symbolon", command, given].map(str::to_owned);
            let mut error = Cli::try_parse_from(&arguments).unwrap_err();
            correct(&mut error, &arguments);
            let suggested = match error.get(ContextKind::SuggestedArg) {
                Some(ContextValue::String(option)) => Some(option.as_str()),
                _ => None,
            };
            assert_eq!(suggested, expected, "{command} {given}");
        }
    }
}
