//! The report as aligned text.

use anstyle::{AnsiColor, Style};
use symbolon::Source;
use symbolon::parts::types::printable;

use super::endpoints::EndpointReport;
use super::report::DoctorReport;
use super::resource::{CertificateRequest, ResourceReport};
use crate::output::wrap;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const LABEL: Style = Style::new().bold();

pub(super) fn format(report: &DoctorReport) -> String {
    let DoctorReport { source, imds, binding, clock, proxy, endpoints, resource, advice } = report;
    let mut rows = ReportRows::default();
    let selected = source.selected.map_or_else(|| "none".to_owned(), |source| source.to_string());
    rows.add("source", &[selected, format!("because {}", source.reason)]);
    let skipped = source.skipped.iter().map(|skipped| format!("{}: {}", skipped.source, skipped.reason));
    rows.add("identity", &[source.selected.map_or_else(|| "none".to_owned(), identities)]);
    rows.add("skipped", &skipped.collect::<Vec<_>>());
    let version = match (&imds.base, imds.version) {
        (None, _) => "not probed".to_owned(),
        (Some(base), None) => format!("none at {base}"),
        (Some(base), Some(version)) => format!("version {version} at {base}"),
    };
    rows.add("metadata service", &[&[version], &imds.reasons[..]].concat());
    let strength = match (binding.usable, binding.strength) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes".to_owned(),
        (true, Some(strength)) => format!("yes, with a key of strength {strength}"),
    };
    rows.add("bound tokens", &[strength, format!("because {}", binding.reason)]);
    rows.add("clock", &[clock.skew_seconds.map_or("not compared".to_owned(), skew)]);
    rows.add("proxy", &[proxy.clone().unwrap_or_else(|| "none".to_owned())]);
    for (number, endpoint) in endpoints.iter().enumerate() {
        rows.endpoint(if number == 0 { "endpoints" } else { "" }, endpoint);
    }
    if let Some(ResourceReport { url, certificate, reason }) = resource {
        let certificate = match certificate {
            CertificateRequest::Handshake => "certificate requested in the handshake",
            CertificateRequest::Late => "certificate requested after the handshake",
            CertificateRequest::Never => "no certificate requested",
            CertificateRequest::Unknown => "unknown",
        };
        rows.add("resource", &[url.clone(), certificate.to_owned(), format!("because {reason}")]);
    }
    rows.add("next", advice);
    rows.0.join("\n")
}

/// Returns the kinds of identity that the source supports. Only a token or certificate request can
/// determine the identities that are assigned.
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

fn skew(seconds: i64) -> String {
    match seconds {
        -1..=1 => "in sync with the metadata service".to_owned(),
        2.. => format!("{seconds} seconds ahead of the metadata service"),
        _ => format!("{} seconds behind the metadata service", -seconds),
    }
}

/// The lines of a report, in two columns.
#[derive(Default)]
struct ReportRows(Vec<String>);

impl ReportRows {
    const INDENT: usize = 18;

    /// Adds a label and its texts, each starting on a line of its own.
    fn add(&mut self, name: &str, texts: &[String]) {
        let lines = texts.iter().flat_map(|text| wrap(text, Self::INDENT));
        for (number, line) in lines.enumerate() {
            self.line(if number == 0 { name } else { "" }, &line);
        }
    }

    fn endpoint(&mut self, name: &str, endpoint: &EndpointReport) {
        let (style, mark) = if endpoint.ok { (GOOD, "ok  ") } else { (BAD, "fail") };
        let took = endpoint.ms.map_or(String::new(), |ms| format!("{ms} ms"));
        self.line(name, &format!("{style}{mark}{style:#} {took:>7}  {}", printable(&endpoint.url)));
        for line in wrap(&endpoint.reason, Self::INDENT + 14) {
            self.line("", &format!("{:14}{line}", ""));
        }
    }

    fn line(&mut self, name: &str, text: &str) {
        let padding = Self::INDENT - name.len();
        self.0.push(format!("{LABEL}{name}{LABEL:#}{:padding$}{text}", "").trim_end().to_owned());
    }
}
