//! The report for people: aligned, and no wider than a terminal.

use anstyle::{AnsiColor, Style};
use symbolon::Source;

use super::Report;
use super::endpoints::Endpoint;

const WIDTH: usize = 80;
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const NAME: Style = Style::new().bold();

pub(super) fn of(report: &Report) -> String {
    let Report { source, imds, binding, clock, proxy, endpoints, advice } = report;
    let mut rows = Rows::default();
    let selected = source.selected.map_or_else(|| "none".to_owned(), |source| source.to_string());
    rows.add("source", &[selected, format!("because {}", source.reason)]);
    let skipped = source.skipped.iter().map(|one| format!("{}: {}", one.source, one.reason));
    rows.add("identity", &[source.selected.map_or_else(|| "none".to_owned(), identities)]);
    rows.add("skipped", &skipped.collect::<Vec<_>>());
    let asked = match (&imds.base, imds.version) {
        (None, _) => "not asked".to_owned(),
        (Some(base), None) => format!("none at {base}"),
        (Some(base), Some(version)) => format!("version {version} at {base}"),
    };
    rows.add("metadata service", &[&[asked], &imds.reasons[..]].concat());
    let strength = match (binding.usable, binding.strength) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes".to_owned(),
        (true, Some(strength)) => format!("yes, to a key of strength {strength}"),
    };
    rows.add("binds tokens", &[strength, format!("because {}", binding.reason)]);
    rows.add("clock", &[clock.skew_seconds.map_or("not compared".to_owned(), told)]);
    rows.add("proxy", &[proxy.clone().unwrap_or_else(|| "none".to_owned())]);
    for (number, endpoint) in endpoints.iter().enumerate() {
        rows.endpoint(if number == 0 { "endpoints" } else { "" }, endpoint);
    }
    rows.add("next", advice);
    rows.0.join("\n")
}

/// Describes the identities that the source can have. Only a request shows those that are assigned.
fn identities(source: Source) -> String {
    let info = source.info();
    let kinds: Vec<&str> = info.id_kinds.iter().map(|kind| kind.as_str()).collect();
    match kinds.split_last() {
        None => format!("{}; no user-assigned one", info.own_identity),
        Some((only, [])) => format!("{}, or a user-assigned one by {only}", info.own_identity),
        Some((last, rest)) => {
            format!("{}, or a user-assigned one by {} or {last}", info.own_identity, rest.join(", "))
        }
    }
}

fn told(skew: i64) -> String {
    match skew {
        -1..=1 => "agrees with the metadata service's".to_owned(),
        2.. => format!("{skew} seconds ahead of the metadata service's"),
        _ => format!("{} seconds behind the metadata service's", -skew),
    }
}

/// Lines of two columns.
#[derive(Default)]
struct Rows(Vec<String>);

impl Rows {
    const INDENT: usize = 18;

    /// A name, and a line or more for each text.
    fn add(&mut self, name: &str, texts: &[String]) {
        let lines = texts.iter().flat_map(|text| wrap(text, WIDTH - Self::INDENT));
        for (number, line) in lines.enumerate() {
            self.line(if number == 0 { name } else { "" }, &line);
        }
    }

    fn endpoint(&mut self, name: &str, endpoint: &Endpoint) {
        let (style, mark) = if endpoint.ok { (GOOD, "ok  ") } else { (BAD, "fail") };
        let took = endpoint.ms.map_or(String::new(), |ms| format!("{ms} ms"));
        self.line(name, &format!("{style}{mark}{style:#} {took:>7}  {}", endpoint.url));
        for line in wrap(&endpoint.reason, WIDTH - Self::INDENT - 14) {
            self.line("", &format!("{:14}{line}", ""));
        }
    }

    fn line(&mut self, name: &str, text: &str) {
        let padding = Self::INDENT - name.len();
        self.0.push(format!("{NAME}{name}{NAME:#}{:padding$}{text}", "").trim_end().to_owned());
    }
}

/// Lines of whole words. A word that is too long has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_made_of_whole_words() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("anextremelylongword x", 7), ["anextremelylongword", "x"]);
        assert!(wrap(" ", 7).is_empty());
    }
}
