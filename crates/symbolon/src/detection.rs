//! Detection of the managed identity source.

use symbolon_token::Error;
use symbolon_types::{Env, Source};
use url::Url;

use crate::source::azure_arc::ArcAgent;
use crate::source::endpoint::endpoint_of;

/// The managed identity source of an environment, with the reasons for it and against the others.
///
/// ```
/// use symbolon::{Detection, Env, Source};
///
/// let variables = [("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token"), ("IDENTITY_HEADER", "…")];
/// let detection = Detection::of(&variables.into_iter().collect::<Env>());
/// assert_eq!(detection.source, Source::AppService);
/// assert_eq!(detection.reason, "IDENTITY_ENDPOINT and IDENTITY_HEADER are set");
/// assert_eq!(detection.skipped[0].source, Source::ServiceFabric);
/// assert_eq!(detection.skipped[0].reason, "IDENTITY_SERVER_THUMBPRINT is not set");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detection {
    /// The source.
    pub source: Source,
    /// The variables, or the file, that select the source.
    pub reason: &'static str,
    /// True if a variable or an installed Azure Arc agent names the source. Otherwise the source is
    /// the instance metadata service by default, and outside of Azure it does not respond.
    pub is_named: bool,
    /// All other sources, in order of detection.
    pub skipped: Vec<SkippedSource>,
}

/// A source that was not selected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedSource {
    /// The source.
    pub source: Source,
    /// The reason for not selecting it.
    pub reason: String,
}

const AGENT_FOUND: &str = "the Azure Arc agent is installed";

impl Detection {
    /// Detects the source from the environment. If no variable names a source, checks for the
    /// program of the Azure Arc agent. Sends nothing. An empty variable counts as not set.
    /// (docs/protocol/sources.md#detection)
    #[must_use]
    pub fn of(env: &Env) -> Self {
        Self::with_agent(env, &ArcAgent::of_this_machine(env))
    }

    /// Returns the endpoint of the source's token requests; `None` for the metadata service, whose
    /// address is in [`ImdsProbes`](crate::ImdsProbes). Sends nothing.
    ///
    /// # Errors
    /// `invalid_managed_identity_endpoint` if the variable of the source has an invalid value.
    pub fn endpoint(&self, env: &Env) -> Result<Option<Url>, Error> {
        match self.source {
            Source::Imds => Ok(None),
            source => endpoint_of(source, env).map(Some),
        }
    }

    pub(crate) fn with_agent(env: &Env, agent: &ArcAgent) -> Self {
        let mut selected: Option<(Source, &'static str)> = None;
        let mut skipped = Vec::new();
        for source in Source::ALL {
            let reason = match selected {
                Some((first, _)) => format!("{first} comes first"),
                None => {
                    let info = source.info();
                    let missing = missing_variables(source, env);
                    let is_agent = source == Source::AzureArc && !missing.is_empty() && agent.is_installed();
                    if missing.is_empty() || is_agent {
                        selected = Some((source, if is_agent { AGENT_FOUND } else { info.detected_reason }));
                        continue;
                    }
                    match source {
                        Source::AzureArc => not_set(&missing) + &agent.absence(),
                        _ => not_set(&missing),
                    }
                }
            };
            skipped.push(SkippedSource { source, reason });
        }
        // The instance metadata service requires no variable.
        let (source, reason) = selected.unwrap_or((Source::Imds, ""));
        let is_named = source != Source::Imds || env.var(Source::IMDS_VARIABLE).is_some();
        Self { source, reason, is_named, skipped }
    }
}

/// Returns the variables of the source that are not set.
pub(crate) fn missing_variables(source: Source, env: &Env) -> Vec<&'static str> {
    let required = source.info().required_variables.iter().copied();
    required.filter(|name| env.var(name).is_none()).collect()
}

/// Writes "A is not set" or "A, B and C are not set".
fn not_set(names: &[&str]) -> String {
    match names {
        [one] => format!("{one} is not set"),
        [first @ .., last] => format!("{} and {last} are not set", first.join(", ")),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn detect(variables: &[&str], agent: &ArcAgent) -> Detection {
        let env: Env = variables.iter().map(|name| (*name, "http://localhost:1/")).collect();
        Detection::with_agent(&env, agent)
    }

    #[test]
    fn sources_are_detected_in_order() {
        use Source::{AppService, AzureArc, CloudShell, Imds, MachineLearning, ServiceFabric};
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("himds");
        fs::write(&program, "").unwrap();
        let installed = ArcAgent::with_program(Some(program));
        let absent = ArcAgent::with_program(Some(folder.path().join("elsewhere")));
        for (variables, agent, expected) in [
            (
                &["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "MSI_ENDPOINT"][..],
                &absent,
                ServiceFabric,
            ),
            (&["IDENTITY_ENDPOINT", "IDENTITY_HEADER"], &installed, AppService),
            (
                &["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "IMDS_ENDPOINT"],
                &absent,
                AppService,
            ),
            (&["MSI_ENDPOINT", "MSI_SECRET"], &absent, MachineLearning),
            (&["IDENTITY_ENDPOINT", "IMDS_ENDPOINT", "MSI_ENDPOINT"], &absent, CloudShell),
            (&["IDENTITY_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET"], &absent, MachineLearning),
            (&["MSI_ENDPOINT"], &installed, CloudShell),
            (&["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"], &absent, AzureArc),
            (&["IDENTITY_ENDPOINT"], &absent, Imds),
            (&["IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"], &absent, Imds),
            (&["AZURE_POD_IDENTITY_AUTHORITY_HOST"], &absent, Imds),
            (&[], &installed, AzureArc),
            (&[], &absent, Imds),
            (&[], &ArcAgent::with_program(None), Imds),
        ] {
            assert_eq!(detect(variables, agent).source, expected, "{variables:?}");
        }
        for (variables, agent, is_named) in [
            (&["AZURE_POD_IDENTITY_AUTHORITY_HOST"][..], &absent, true),
            (&["MSI_ENDPOINT"], &absent, true),
            (&[], &installed, true),
            (&["IDENTITY_ENDPOINT"], &absent, false),
            (&[], &absent, false),
        ] {
            assert_eq!(detect(variables, agent).is_named, is_named, "{variables:?}");
        }
        // An empty variable counts as not set.
        let empty: Env = [("IDENTITY_ENDPOINT", ""), ("IDENTITY_HEADER", "x")].into_iter().collect();
        assert_eq!(Detection::with_agent(&empty, &absent).source, Imds);
    }

    #[test]
    fn skipped_sources_have_reasons() {
        let absent = ArcAgent::with_program(None);
        let reasons = |variables: &[&str]| {
            let detection = detect(variables, &absent);
            let skipped = detection.skipped.into_iter();
            (
                detection.reason,
                skipped.map(|skipped| format!("{}: {}", skipped.source.as_str(), skipped.reason)),
            )
        };
        let (reason, skipped) = reasons(&["MSI_ENDPOINT", "IDENTITY_HEADER"]);
        assert_eq!(reason, "MSI_ENDPOINT is set, and MSI_SECRET is not");
        assert_eq!(
            skipped.collect::<Vec<_>>(),
            [
                "service_fabric: IDENTITY_ENDPOINT and IDENTITY_SERVER_THUMBPRINT are not set",
                "app_service: IDENTITY_ENDPOINT is not set",
                "machine_learning: MSI_SECRET is not set",
                "azure_arc: Cloud Shell comes first",
                "imds: Cloud Shell comes first",
            ]
        );
        let (reason, mut skipped) = reasons(&[]);
        assert_eq!(reason, "nothing names another source");
        assert_eq!(
            skipped.next_back().as_deref(),
            Some(
                "azure_arc: IDENTITY_ENDPOINT and IMDS_ENDPOINT are not set, \
                 and there is no Azure Arc agent for this platform"
            )
        );
    }

    #[test]
    fn readme_lists_every_source() {
        let readme = include_str!("../README.md");
        for source in Source::ALL {
            let info = source.info();
            let variables: Vec<_> =
                info.required_variables.iter().map(|variable| format!("`{variable}`")).collect();
            let ids: Vec<_> = info.id_kinds.iter().map(|kind| kind.as_str()).collect();
            let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
            let row = format!(
                "| {} | {} | {} | {} | {} |",
                info.products,
                or(variables.join(", "), "no other source"),
                or(ids.join(", "), "none"),
                if info.issues_certificates { "version 2" } else { "no" },
                match (info.replaces_refused_tokens, info.issues_certificates) {
                    (true, _) => "replaces the refused token",
                    (_, true) => "sent for bound tokens",
                    _ => "refused",
                },
            );
            assert!(readme.contains(&row), "the README has no row {row}");
        }
    }
}
