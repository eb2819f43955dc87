#![doc = include_str!("../README.md")]

mod instruments;
mod observer;

pub use observer::OpenTelemetryObserver;

/// The API of OpenTelemetry that appears in signatures of this crate.
pub use opentelemetry;
