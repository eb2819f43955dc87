//! What to do next.

use symbolon::{HostCapabilities, ImdsVersion, Source};

use super::endpoints::Endpoint;

/// A certificate may be that young, or that old, by the clocks of those who check it.
const SKEW_THAT_HURTS: i64 = 5 * 60;

pub(super) fn on(found: &HostCapabilities, endpoints: &[Endpoint]) -> Vec<String> {
    let mut advice = vec![next_step(found)];
    if let Some(skew) = found.imds.as_ref().and_then(|imds| imds.skew_seconds)
        && skew.abs() > SKEW_THAT_HURTS
    {
        let side = if skew > 0 { "ahead of" } else { "behind" };
        let by = skew.abs();
        advice.push(format!("Set this machine's clock: it is {by} seconds {side} the metadata service's."));
    }
    match found.source {
        Some(Source::Imds) | None => (),
        Some(source) => {
            if let Some(endpoint) = endpoints.first().filter(|endpoint| !endpoint.ok) {
                advice.push(format!("Find out why {source} cannot be asked: {}.", endpoint.reason));
            }
        }
    }
    let lost: Vec<&str> = endpoints
        .iter()
        .filter(|endpoint| !endpoint.ok && endpoint.url.starts_with("https:"))
        .map(|endpoint| &*endpoint.url)
        .collect();
    if found.can_bind() && !lost.is_empty() {
        advice.push(format!(
            "Bound tokens are issued by a token service: if it is one of Microsoft's, let this machine reach {}, \
             by a proxy in HTTPS_PROXY if need be, but by none that ends TLS.",
            lost.join(" and ")
        ));
    }
    advice
}

fn next_step(found: &HostCapabilities) -> String {
    let token = "symbolon token --resource https://vault.azure.net";
    match (found.source, found.imds.as_ref().and_then(|imds| imds.version)) {
        (None, _) => {
            "There is no managed identity here. Run this on Azure; or run `symbolon emulate`, and set \
                      the variables that it prints."
                .to_owned()
        }
        (_, Some(ImdsVersion::V2)) => format!(
            "Ask for a bound token: `{token} --pop`. As of this writing, Azure issues certificates only for \
             attested keys of Windows KeyGuard; where it refuses, ask for a bearer token without `--pop`."
        ),
        _ => format!("Ask for a bearer token: `{token}`. Tokens cannot be bound to a key here."),
    }
}
