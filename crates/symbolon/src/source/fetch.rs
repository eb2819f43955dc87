//! One acquisition of a bearer token from the source.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use symbolon_binding::ManagedIdentityId;
use symbolon_binding::imds::ImdsClient;
use symbolon_token::{Error, ErrorKind, IssuedToken};
use symbolon_transport::{HttpClient, PendingRequest, RetryPolicy, timeout_or_pending};
use symbolon_types::{CorrelationId, Env, Source};

use super::azure_arc::{self, ArcAgent};
use super::client::SourceClient;
use super::imds_v1;
use super::request::{SourceRequest, http_request};

/// Everything that a request to any source needs, apart from the resource.
#[derive(Debug)]
pub(crate) struct TokenFetcher {
    pub(crate) id: ManagedIdentityId,
    pub(crate) capabilities: Vec<String>,
    pub(crate) imds: ImdsClient,
    pub(crate) http: HttpClient,
    pub(crate) imds_retry_policy: RetryPolicy,
    /// The retry policy of all other sources.
    pub(crate) retry_policy: RetryPolicy,
    pub(crate) deadline: Duration,
    /// The directory of the challenge files of the Azure Arc agent, if it is not the platform's.
    pub(crate) azure_arc_tokens: Option<PathBuf>,
    /// A digest of the headers and parameters that the program adds, if it adds any.
    pub(crate) extras: Option<String>,
}

impl TokenFetcher {
    /// Returns the variables that the source reads, as they are now. The metadata service has its
    /// origin since the identity was built.
    pub(crate) fn environment(&self, source: Source) -> Env {
        if source == Source::Imds {
            return imds_environment(&self.imds);
        }
        let env = self.http.context().env();
        let info = source.info();
        let names = info.required_variables.iter().chain(info.optional_variables);
        names.filter_map(|name| Some((*name, env.var(name)?))).collect()
    }

    /// Requests a token in an [`environment`](Self::environment), within `deadline`, or the
    /// identity's own. `refused` is the hash of the token that a resource refused.
    pub(crate) async fn fetch(
        self: Arc<Self>,
        source: Source,
        environment: Env,
        resource: String,
        refused: Option<String>,
        deadline: Option<Duration>,
        correlation_id: CorrelationId,
    ) -> Result<IssuedToken, Error> {
        let takes_capabilities = source.info().replaces_refused_tokens;
        let request = SourceRequest {
            resource: &resource,
            id: &self.id,
            capabilities: if takes_capabilities { &self.capabilities } else { &[] },
            refused: refused.as_deref(),
            correlation_id,
        };
        let deadline = deadline.unwrap_or(self.deadline);
        let clock = self.http.context().clock();
        let started = clock.steady_now();
        let sent = timeout_or_pending(clock, deadline, self.send(source, &request, &environment)).await;
        let elapsed = clock.steady_now().since(started);
        sent.unwrap_or_else(|pending| Err(timeout_error(source, deadline, pending)))
            .map(|(fetched, attempts)| fetched.after(attempts, elapsed))
            .map_err(|error| {
                let error = error.with_metadata(|metadata| metadata.http_duration = elapsed);
                error.with_correlation_id(correlation_id)
            })
    }

    async fn send(
        &self,
        source: Source,
        request: &SourceRequest<'_>,
        environment: &Env,
    ) -> Result<(IssuedToken, usize), Error> {
        if source == Source::Imds {
            return imds_v1::token(request, &self.imds, &self.imds_retry_policy).await;
        }
        let client = SourceClient {
            source,
            http: &self.http,
            policy: &self.retry_policy,
            correlation_id: request.correlation_id,
        };
        if source == Source::AzureArc {
            let directory = self.azure_arc_tokens.clone();
            let directory =
                directory.or_else(|| ArcAgent::of_this_machine(self.http.context().env()).tokens());
            return azure_arc::token(request, environment, directory.as_deref(), &client).await;
        }
        let http_request = http_request(source, request, environment)?;
        client.token(&client.send(&http_request).await?)
    }
}

/// Returns the variable with the origin of the metadata service, also if the origin is the default.
pub(crate) fn imds_environment(imds: &ImdsClient) -> Env {
    [(Source::IMDS_VARIABLE, imds.origin())].into_iter().collect()
}

fn timeout_error(source: Source, deadline: Duration, pending: Option<PendingRequest>) -> Error {
    let advice = match source {
        Source::Imds => "check that this is an Azure machine, or allow more time",
        _ => "try again later, or allow more time",
    };
    let waited = pending.map(|pending| format!("; waited for {pending}")).unwrap_or_default();
    let error = format!("{source} did not issue a token within {deadline:?}{waited}");
    Error::new(ErrorKind::Network, "timeout", error).with_advice(advice).with_transient(true)
}
