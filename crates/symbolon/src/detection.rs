//! Which managed identity source this environment has.

use std::fmt;

use symbolon_types::Env;

use crate::source::azure_arc::ArcAgent;

/// Where a host hands out managed identity tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// Azure Service Fabric.
    ServiceFabric,
    /// Azure App Service, Functions, Container Apps and Automation.
    AppService,
    /// Azure Machine Learning.
    MachineLearning,
    /// Azure Cloud Shell.
    CloudShell,
    /// A machine outside of Azure with the Azure Arc agent.
    AzureArc,
    /// The instance metadata service of an Azure virtual machine.
    Imds,
}

impl Source {
    /// The name in JSON: `service_fabric`, `app_service`, `machine_learning`, `cloud_shell`,
    /// `azure_arc`, `imds`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceFabric => "service_fabric",
            Self::AppService => "app_service",
            Self::MachineLearning => "machine_learning",
            Self::CloudShell => "cloud_shell",
            Self::AzureArc => "azure_arc",
            Self::Imds => "imds",
        }
    }
}

/// For people.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ServiceFabric => "Service Fabric",
            Self::AppService => "App Service",
            Self::MachineLearning => "Azure Machine Learning",
            Self::CloudShell => "Cloud Shell",
            Self::AzureArc => "Azure Arc",
            Self::Imds => "the instance metadata service",
        })
    }
}

/// What was detected, and why.
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
    /// What gave it away.
    pub reason: &'static str,
    /// Whether the environment, or the Arc agent, says that there is a source. Otherwise it is the instance metadata
    /// service, because a virtual machine says nothing, and outside of Azure nobody answers there.
    pub is_named: bool,
    /// All other sources, in the order in which they are looked for.
    pub skipped: Vec<Skipped>,
}

/// A source that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The source.
    pub source: Source,
    /// Why it was not taken.
    pub reason: String,
}

/// A source, and the variables that give it away.
struct Candidate {
    source: Source,
    needs: &'static [&'static str],
    found: &'static str,
}

/// In the order of MSAL.NET and MSAL Go (managed-identity sources §1.2). App Service sets the variables
/// of Azure Machine Learning, too.
const CANDIDATES: [Candidate; 6] = [
    Candidate {
        source: Source::ServiceFabric,
        needs: &["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"],
        found: "IDENTITY_ENDPOINT, IDENTITY_HEADER and IDENTITY_SERVER_THUMBPRINT are set",
    },
    Candidate {
        source: Source::AppService,
        needs: &["IDENTITY_ENDPOINT", "IDENTITY_HEADER"],
        found: "IDENTITY_ENDPOINT and IDENTITY_HEADER are set",
    },
    Candidate {
        source: Source::MachineLearning,
        needs: &["MSI_ENDPOINT", "MSI_SECRET"],
        found: "MSI_ENDPOINT and MSI_SECRET are set",
    },
    Candidate {
        source: Source::CloudShell,
        needs: &["MSI_ENDPOINT"],
        found: "MSI_ENDPOINT is set, and MSI_SECRET is not",
    },
    Candidate {
        source: Source::AzureArc,
        needs: &["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"],
        found: "IDENTITY_ENDPOINT and IMDS_ENDPOINT are set",
    },
    Candidate { source: Source::Imds, needs: &[], found: "nothing names another source" },
];

/// Says where the metadata service is, for pod identity and emulators.
pub(crate) const IMDS_VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

const AGENT_FOUND: &str = "the Azure Arc agent is installed";

impl Detection {
    /// Looks at the environment, and, where it names no source, for the Arc agent; asks nobody. An empty
    /// variable counts as none. The order is that of MSAL.NET and MSAL Go (managed-identity
    /// sources §1.2).
    #[must_use]
    pub fn of(env: &Env) -> Self {
        Self::with_agent(env, &ArcAgent::of_this_machine(env))
    }

    /// Whether this is Service Fabric: it comes first, so that nothing else needs to be looked at.
    pub(crate) fn is_service_fabric(env: &Env) -> bool {
        CANDIDATES[0].needs.iter().all(|name| env.var(name).is_some())
    }

    pub(crate) fn with_agent(env: &Env, agent: &ArcAgent) -> Self {
        let mut taken: Option<(Source, &'static str)> = None;
        let mut skipped = Vec::new();
        for Candidate { source, needs, found } in CANDIDATES {
            let reason = match taken {
                Some((first, _)) => format!("{first} comes first"),
                None => {
                    let missing: Vec<_> = needs.iter().filter(|name| env.var(name).is_none()).collect();
                    let is_agent = source == Source::AzureArc && !missing.is_empty() && agent.is_installed();
                    if missing.is_empty() || is_agent {
                        taken = Some((source, if is_agent { AGENT_FOUND } else { found }));
                        continue;
                    }
                    match source {
                        Source::AzureArc => unset(&missing) + &agent.absence(),
                        _ => unset(&missing),
                    }
                }
            };
            skipped.push(Skipped { source, reason });
        }
        // The last candidate needs nothing.
        let (source, reason) = taken.unwrap_or((Source::Imds, ""));
        let is_named = source != Source::Imds || env.var(IMDS_VARIABLE).is_some();
        Self { source, reason, is_named, skipped }
    }
}

/// "A is not set", "A, B and C are not set".
fn unset(names: &[&&str]) -> String {
    match names {
        [one] => format!("{one} is not set"),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(|name| **name).collect();
            format!("{} and {last} are not set", first.join(", "))
        }
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

    /// NET-01, AS-02, GO-01, GO-05, X-01.
    #[test]
    fn sources_are_detected_in_the_documented_order() {
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
            // D-4, D-5.
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
        // §7.7.14, D-3.
        let empty: Env = [("IDENTITY_ENDPOINT", ""), ("IDENTITY_HEADER", "x")].into_iter().collect();
        assert_eq!(Detection::with_agent(&empty, &absent).source, Imds);
    }

    #[test]
    fn every_other_source_says_why_it_was_skipped() {
        let absent = ArcAgent::with_program(None);
        let told = |variables: &[&str]| {
            let detection = detect(variables, &absent);
            let skipped = detection.skipped.into_iter();
            (
                detection.reason,
                skipped.map(|skipped| format!("{}: {}", skipped.source.as_str(), skipped.reason)),
            )
        };
        let (reason, skipped) = told(&["MSI_ENDPOINT", "IDENTITY_HEADER"]);
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
        let (reason, mut skipped) = told(&[]);
        assert_eq!(reason, "nothing names another source");
        assert_eq!(
            skipped.next_back().as_deref(),
            Some(
                "azure_arc: IDENTITY_ENDPOINT and IMDS_ENDPOINT are not set, \
                 and there is no Azure Arc agent for this platform"
            )
        );
    }
}
