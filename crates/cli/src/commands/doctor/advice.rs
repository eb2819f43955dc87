//! Advice on the next steps.

use symbolon::{Env, HostCapabilities, ImdsVersion, Source};

use super::endpoints::{self, EndpointReport};
use super::resource::ResourceReport;

/// Maximum clock skew without advice, in seconds. With a larger one, servers may reject new
/// certificates as not yet valid.
const MAX_SKEW: i64 = 5 * 60;

/// Variables of Azure's SDKs that the commands for a managed identity do not use, and the use of
/// each here.
const UNUSED: [(&str, &str); 6] = [
    ("AZURE_CLIENT_ID", "add `--identity client-id:ID` for a user-assigned identity; `app-token` uses it"),
    ("AZURE_TENANT_ID", "`app-token` uses it"),
    ("AZURE_CLIENT_SECRET", "`app-token` uses it"),
    ("AZURE_CLIENT_CERTIFICATE_PATH", "`app-token` uses it"),
    ("AZURE_FEDERATED_TOKEN_FILE", "`app-token` uses it, and so does a credential chain"),
    ("AZURE_USERNAME", "no command signs a user in with a password"),
];

pub(super) fn new(
    found: &HostCapabilities,
    endpoints: &[EndpointReport],
    resource: Option<&ResourceReport>,
    env: &Env,
) -> Vec<String> {
    let mut advice = vec![next_step(found)];
    if let Some(skew) = found.imds.as_ref().and_then(|imds| imds.skew_seconds)
        && skew.abs() > MAX_SKEW
    {
        let side = if skew > 0 { "ahead of" } else { "behind" };
        let by = skew.abs();
        advice
            .push(format!("Set the clock of this machine: it is {by} seconds {side} the metadata service."));
    }
    match found.source {
        Some(Source::Imds) | None => (),
        Some(source) => {
            if let Some(endpoint) = endpoints.first().filter(|endpoint| !endpoint.ok) {
                advice.push(format!("Check the endpoint of {source}: {}.", endpoint.reason));
            }
        }
    }
    let unreachable: Vec<&str> = endpoints
        .iter()
        .filter(|endpoint| !endpoint.ok && endpoint.url.starts_with("https:"))
        .map(|endpoint| &*endpoint.url)
        .collect();
    if found.can_bind() && !unreachable.is_empty() {
        advice.push(format!(
            "Let this machine reach {}, which issues tokens. A proxy in HTTPS_PROXY is possible if it does not \
             intercept TLS.",
            unreachable.join(" and ")
        ));
    }
    if endpoints::is_local(found) {
        advice.push(
            "To check Azure's token services as well, unset AZURE_POD_IDENTITY_AUTHORITY_HOST: they are not probed \
             while the metadata service is on loopback."
                .to_owned(),
        );
    }
    advice.extend(resource.and_then(ResourceReport::advice));
    advice.extend(unused_variables(found, env));
    advice
}

/// Returns a sentence for each variable that is set and selects nothing.
fn unused_variables(found: &HostCapabilities, env: &Env) -> Vec<String> {
    let sdk = UNUSED.iter().filter(|(name, _)| env.var(name).is_some());
    let sdk =
        sdk.map(|(name, remedy)| format!("{name} is set, but a managed identity does not use it: {remedy}."));
    let selected = found.detection.source;
    let used = selected.info();
    let mut others: Vec<&str> = Source::variables()
        .filter(|name| env.var(name).is_some())
        .filter(|name| !used.required_variables.contains(name) && !used.optional_variables.contains(name))
        .collect();
    others.sort_unstable();
    others.dedup();
    let others = others.into_iter().map(|name| {
        format!("{name} is set, but not used: {selected} is the source, because {}.", found.detection.reason)
    });
    sdk.chain(others).collect()
}

fn next_step(found: &HostCapabilities) -> String {
    let token = "symbolon token --resource https://vault.azure.net";
    match (found.source, found.imds.as_ref().and_then(|imds| imds.version)) {
        (None, _) => {
            "This machine has no managed identity. Run this on Azure, or run `symbolon emulate` and set the \
             variables that it prints."
                .to_owned()
        }
        (_, Some(ImdsVersion::V2)) => format!(
            "Request a bound token: `{token} --pop`. Azure currently issues certificates only for attested \
             Windows KeyGuard keys; if it refuses, request a bearer token without `--pop`."
        ),
        _ => format!("Request a bearer token: `{token}`. This host does not support bound tokens."),
    }
}
