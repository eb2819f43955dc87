//! How the story is told: numbered steps, who was sent what, how long it took.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use symbolon::SharedClock;
use symbolon_emulator::{Emulator, JournalEntry, Step};

use super::stage::{Broken, Stage, Told};
use crate::output::{Format, line};

const TITLE: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const HELD: Style = AnsiColor::Green.on_default().bold();
const BROKEN: Style = AnsiColor::Red.on_default().bold();

pub(super) struct Story<'a> {
    format: Format,
    emulator: &'a Emulator,
    clock: SharedClock,
    began: SystemTime,
    /// How much of the emulator's journal has been told.
    told: usize,
    chapters: Vec<Chapter>,
}

/// Which of the requests of a step are told.
#[derive(Clone, Copy)]
pub(super) enum Telling {
    /// All of them.
    Everything,
    /// Those up to the last of this kind; the rest belongs to the next step.
    Until(Step),
    /// Those of this kind; the rest is nobody's business.
    Only(Step),
}

#[derive(Serialize)]
struct Summary<'a> {
    held: bool,
    ms: u128,
    steps: &'a [Chapter],
}

#[derive(Serialize)]
struct Chapter {
    title: &'static str,
    held: bool,
    ms: u128,
    reason: Option<String>,
}

impl<'a> Story<'a> {
    pub(super) fn begin(format: Format, stage: &'a Stage) -> Self {
        let clock = SharedClock::system();
        let story = Self {
            format,
            emulator: &stage.emulator,
            began: clock.now(),
            clock,
            told: 0,
            chapters: Vec::new(),
        };
        story.say("An Azure machine in miniature: a metadata service, a token service and a");
        story.say("resource, on loopback, in this process. No account, no configuration.");
        story
    }

    /// Tells one step: its title, why it is taken, what was sent to whom, what was found.
    pub(super) async fn step(
        &mut self,
        title: &'static str,
        why: &str,
        telling: Telling,
        act: impl AsyncFnOnce() -> Told,
    ) {
        let number = self.chapters.len() + 1;
        self.say(&format!("\n{TITLE}{number}. {title}{TITLE:#}"));
        for line in why.lines() {
            self.say(&format!("   {FAINT}{}{FAINT:#}", line.trim()));
        }
        let start = self.clock.now();
        let told = act().await;
        let took = self.since(start);
        self.tell_requests(telling);
        let broken = match told {
            Ok(findings) => {
                for finding in findings {
                    self.say(&format!("   {finding}"));
                }
                self.say(&format!("   {HELD}held{HELD:#} in {}", milliseconds(took)));
                None
            }
            Err(Broken(why)) => {
                self.say(&format!("   {BROKEN}did not hold{BROKEN:#}: {why}"));
                Some(why)
            }
        };
        let held = broken.is_none();
        self.chapters.push(Chapter { title, held, ms: took.as_millis(), reason: broken });
    }

    /// The summary; a success only if every step held.
    pub(super) fn end(self) -> ExitCode {
        let held = self.chapters.iter().filter(|chapter| chapter.held).count();
        let all = self.chapters.len();
        let took = self.since(self.began);
        let style = if held == all { HELD } else { BROKEN };
        self.say(&format!("\n{style}{held} of {all} steps held{style:#}, in {}.", milliseconds(took)));
        if self.format == Format::Json {
            let summary = Summary { held: held == all, ms: took.as_millis(), steps: &self.chapters };
            anstream::println!("{}", line(&summary));
        } else if held == all {
            self.say("Next: `symbolon emulate` runs the emulator for your own program; this machine");
            self.say("      is asked by `symbolon token --resource https://vault.azure.net --pop`.");
        }
        if held == all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn tell_requests(&mut self, telling: Telling) {
        let journal = self.emulator.journal();
        let new: Vec<&JournalEntry> = journal.entries().skip(self.told).collect();
        let told = match telling {
            Telling::Everything | Telling::Only(_) => new.len(),
            Telling::Until(step) => {
                new.iter().rposition(|entry| entry.step() == step).map_or(0, |last| last + 1)
            }
        };
        for entry in &new[..told] {
            if matches!(telling, Telling::Only(step) if entry.step() != step) {
                continue;
            }
            let at = entry.at().duration_since(self.began).unwrap_or_default();
            self.say(&format!("   {FAINT}{:>9}  {}{FAINT:#}", milliseconds(at), request(entry)));
        }
        self.told += told;
    }

    fn since(&self, start: SystemTime) -> Duration {
        self.clock.now().duration_since(start).unwrap_or_default()
    }

    fn say(&self, line: &str) {
        if self.format == Format::Text {
            anstream::println!("{line}");
        }
    }
}

/// One request in one line: to whom, what, and the answer.
fn request(entry: &JournalEntry) -> String {
    let server = match entry.step() {
        Step::Token | Step::Discovery => "token service",
        Step::Resource => "resource",
        Step::Handshake => "TLS",
        _ => "metadata service",
    };
    let path = entry.target().split('?').next().unwrap_or_default();
    let path = if entry.step() == Step::Token { "/{tenant}/oauth2/v2.0/token" } else { path };
    let path = path.strip_prefix("/metadata/identity").unwrap_or(path);
    format!("→ {server:<16}  {:<4} {path:<28} {}", entry.method(), entry.outcome())
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
