//! The instruments, with their names, units and buckets. The README lists them.

use opentelemetry::metrics::{Counter, Histogram, Meter};

/// Buckets of durations in seconds: those that the semantic conventions recommend for HTTP
/// requests, with one for a token in memory and some for retries.
const DURATIONS: [f64; 17] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 120.0];
/// Buckets of lifetimes in seconds, from a minute to a day.
const LIFETIMES: [f64; 9] = [60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 86_400.0];

#[derive(Debug)]
pub(crate) struct Instruments {
    pub(crate) request_duration: Histogram<f64>,
    pub(crate) remaining_lifetime: Histogram<f64>,
    pub(crate) fetch_duration: Histogram<f64>,
    pub(crate) mint_duration: Histogram<f64>,
    pub(crate) store_duration: Histogram<f64>,
    pub(crate) handshake_duration: Histogram<f64>,
    pub(crate) refusals: Counter<u64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let histogram = |name: &'static str, description: &'static str, buckets: &[f64]| {
            let builder = meter.f64_histogram(name).with_unit("s").with_description(description);
            builder.with_boundaries(buckets.to_vec()).build()
        };
        Self {
            request_duration: histogram(
                "symbolon.token.request.duration",
                "Duration of requests for tokens.",
                &DURATIONS,
            ),
            remaining_lifetime: histogram(
                "symbolon.token.remaining_lifetime",
                "Time until the expiry of tokens that requests returned.",
                &LIFETIMES,
            ),
            fetch_duration: histogram(
                "symbolon.token.fetch.duration",
                "Duration of fetches of tokens from their issuers.",
                &DURATIONS,
            ),
            mint_duration: histogram(
                "symbolon.mint.duration",
                "Duration of mints of certificates for managed identities.",
                &DURATIONS,
            ),
            store_duration: histogram(
                "symbolon.store.operation.duration",
                "Duration of calls to the token store, and of waits for its lock.",
                &DURATIONS,
            ),
            handshake_duration: histogram(
                "symbolon.tls.handshake.duration",
                "Duration of opening TLS connections.",
                &DURATIONS,
            ),
            refusals: meter
                .u64_counter("symbolon.credential.refusals")
                .with_unit("{refusal}")
                .with_description("Number of refused credentials.")
                .build(),
        }
    }
}
