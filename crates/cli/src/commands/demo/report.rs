//! The output of the demo: numbered steps with their requests, findings and durations.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use symbolon::parts::types::printable;
use symbolon::{Error, SharedClock};
use symbolon_emulator::{Emulator, JournalEntry, Step};

use super::step::{StepError, StepResult};
use crate::output::{OutputFormat, line};
use crate::stdout::print_line;

const TITLE: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const PASSED: Style = AnsiColor::Green.on_default().bold();
const FAILED: Style = AnsiColor::Red.on_default().bold();

pub(super) struct DemoReport<'a> {
    format: OutputFormat,
    emulator: &'a Emulator,
    clock: SharedClock,
    start: SystemTime,
    /// Number of entries of the emulator's journal that have been printed.
    printed: usize,
    steps: Vec<StepReport>,
    /// The reason why a line could not be printed; nothing is printed after it.
    failure: Option<Error>,
}

/// The requests that are printed for a step.
#[derive(Clone, Copy)]
pub(super) enum RequestFilter {
    All,
    /// Up to the last one of this kind; the others belong to the next step.
    Until(Step),
    /// Those of this kind.
    Only(Step),
}

#[derive(Serialize)]
struct DemoJson<'a> {
    held: bool,
    ms: u128,
    steps: &'a [StepReport],
}

#[derive(Serialize)]
struct StepReport {
    title: &'static str,
    held: bool,
    ms: u128,
    reason: Option<String>,
}

impl<'a> DemoReport<'a> {
    pub(super) fn new(format: OutputFormat, emulator: &'a Emulator) -> Self {
        let clock = SharedClock::system();
        let start = clock.now();
        let mut report =
            Self { format, emulator, start, clock, printed: 0, steps: Vec::new(), failure: None };
        report.print("An emulated Azure machine: a metadata service, a token service and a resource");
        report.print("on loopback, in this process. No account and no configuration is needed.");
        report
    }

    /// Runs a step and prints its title, reason, requests and findings.
    pub(super) async fn step(
        &mut self,
        title: &'static str,
        reason: &str,
        filter: RequestFilter,
        result: impl Future<Output = StepResult>,
    ) {
        let number = self.steps.len() + 1;
        self.print(&format!("\n{TITLE}{number}. {title}{TITLE:#}"));
        for line in reason.lines() {
            self.print(&format!("   {FAINT}{}{FAINT:#}", line.trim()));
        }
        let start = self.clock.now();
        let result = result.await;
        let duration = self.since(start);
        self.print_requests(filter);
        let error = match result {
            Ok(findings) => {
                for finding in findings {
                    self.print(&format!("   {}", printable(finding)));
                }
                self.print(&format!("   {PASSED}passed{PASSED:#} in {}", milliseconds(duration)));
                None
            }
            Err(StepError(error)) => {
                self.print(&format!("   {FAILED}failed{FAILED:#}: {}", printable(&error)));
                Some(error)
            }
        };
        let held = error.is_none();
        self.steps.push(StepReport { title, held, ms: duration.as_millis(), reason: error });
    }

    /// Prints the summary. The exit code is 0 only if every step passed.
    pub(super) fn finish(mut self) -> Result<ExitCode, Error> {
        let passed = self.steps.iter().filter(|step| step.held).count();
        let all = self.steps.len();
        let duration = self.since(self.start);
        let style = if passed == all { PASSED } else { FAILED };
        self.print(&format!(
            "\n{style}{passed} of {all} steps passed{style:#} in {}",
            milliseconds(duration)
        ));
        if self.format == OutputFormat::Json {
            let summary = DemoJson { held: passed == all, ms: duration.as_millis(), steps: &self.steps };
            print_line(line(&summary))?;
        } else if passed == all {
            self.print("Next: `symbolon emulate` runs the emulator for your own program;");
            self.print("      `symbolon token --resource https://vault.azure.net --pop` requests a bound");
            self.print("      token of this machine.");
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(if passed == all { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        }
    }

    fn print_requests(&mut self, filter: RequestFilter) {
        let journal = self.emulator.journal();
        let new: Vec<&JournalEntry> = journal.entries().skip(self.printed).collect();
        let count = match filter {
            RequestFilter::All | RequestFilter::Only(_) => new.len(),
            RequestFilter::Until(step) => {
                new.iter().rposition(|entry| entry.step == step).map_or(0, |last| last + 1)
            }
        };
        for entry in &new[..count] {
            if matches!(filter, RequestFilter::Only(step) if entry.step != step) {
                continue;
            }
            let at = entry.at.duration_since(self.start).unwrap_or_default();
            self.print(&format!("   {FAINT}{:>9}  {}{FAINT:#}", milliseconds(at), printable(request(entry))));
        }
        self.printed += count;
    }

    fn since(&self, start: SystemTime) -> Duration {
        self.clock.now().duration_since(start).unwrap_or_default()
    }

    fn print(&mut self, line: &str) {
        if self.format == OutputFormat::Text && self.failure.is_none() {
            self.failure = print_line(line).err();
        }
    }
}

/// Returns a request in one line: server, method, path and outcome.
fn request(entry: &JournalEntry) -> String {
    let server = match entry.step {
        Step::Token | Step::Discovery => "token service",
        Step::Resource => "resource",
        Step::Handshake => "TLS",
        _ => "metadata service",
    };
    let path = entry.target.split('?').next().unwrap_or_default();
    let path = if entry.step == Step::Token { "/{tenant}/oauth2/v2.0/token" } else { path };
    let path = path.strip_prefix("/metadata/identity").unwrap_or(path);
    format!("→ {server:<16}  {:<4} {path:<28} {}", entry.method, entry.outcome)
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
