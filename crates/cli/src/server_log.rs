//! The log of the servers.

use std::fmt::{self, Display};
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value};
use symbolon::SharedClock;
use symbolon::parts::types::printable;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::output::{OutputFormat, line, note};
use crate::timestamp::Timestamp;

/// The log of a server, on stderr: lines of text, or with `--output json` one object a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerLog {
    is_json: bool,
    is_quiet: bool,
}

/// The severity of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::TRACE => Self::Trace,
            Level::DEBUG => Self::Debug,
            Level::INFO => Self::Info,
            Level::WARN => Self::Warn,
            Level::ERROR => Self::Error,
        }
    }
}

#[derive(Serialize)]
struct LogLine<'a> {
    time: String,
    level: Severity,
    event: &'a str,
    message: &'a str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl ServerLog {
    pub(crate) fn new(format: OutputFormat, is_quiet: bool) -> Self {
        Self { is_json: format == OutputFormat::Json, is_quiet }
    }

    /// Returns a log for people.
    pub(crate) fn text(is_quiet: bool) -> Self {
        Self { is_json: false, is_quiet }
    }

    /// Writes a note: something that the user may have meant otherwise.
    pub(crate) fn note(self, event: &str, text: &str) {
        match self.is_json {
            true => self.write(Severity::Warn, event, text, []),
            false => note(self.is_quiet, text),
        }
    }

    /// Writes an entry. With `--quiet`, only errors are written.
    pub(crate) fn write<const N: usize>(
        self,
        level: Severity,
        event: &str,
        message: &str,
        fields: [(&str, Value); N],
    ) {
        if self.is_quiet && level != Severity::Error {
            return;
        }
        if self.is_json {
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            return write_json(level, event, message, fields);
        }
        write_line(format_args!("{} {}", now(), printable(message)));
    }
}

fn now() -> Timestamp {
    Timestamp::from(SharedClock::system().now())
}

fn write_json(level: Severity, event: &str, message: &str, fields: Map<String, Value>) {
    write_line(line(&LogLine { time: now().to_string(), level, event, message, fields }));
}

fn write_line(text: impl Display) {
    // The server continues if stderr is closed.
    let _written = writeln!(io::stderr().lock(), "{text}");
}

/// A `tracing` layer that writes the events of the libraries as JSON, with the fields of their
/// spans.
pub(crate) struct JsonEvents;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonEvents {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = EventFields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<EventFields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = EventFields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<EventFields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        let message = match fields.0.remove("message") {
            Some(Value::String(message)) => message,
            _ => String::new(),
        };
        let target = ("target".to_owned(), event.metadata().target().into());
        let more = Map::from_iter([target, ("fields".to_owned(), fields.0.into())]);
        write_json((*event.metadata().level()).into(), "log", &message, more);
    }
}

/// The fields of an event or a span.
#[derive(Default)]
struct EventFields(Map<String, Value>);

impl Visit for EventFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}
