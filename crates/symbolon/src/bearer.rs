//! Bearer tokens: from the cache, or from the source that this environment has.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use symbolon_binding::ManagedIdentityId;
use symbolon_binding::imds::ImdsClient;
use symbolon_token::{
    CacheKey, Error, ErrorKind, Fetched, Partition, Token, TokenCache, merge_claims, resource_name,
};
use symbolon_transport::{HttpClient, Request, RetryPolicy, within};
use symbolon_types::{CorrelationId, SharedClock};

use crate::source::azure_arc::ArcAgent;
use crate::source::exchange::Exchange;
use crate::source::{
    Question, app_service, azure_arc, cloud_shell, imds_v1, machine_learning, service_fabric, takes_claims,
};
use crate::{Detection, ManagedIdentityRequest, Source};

/// The identity's bearer tokens.
#[derive(Debug)]
pub(crate) struct Bearer {
    asking: Arc<Asking>,
    cache: TokenCache,
    found: OnceLock<Found>,
}

/// What the first look at the environment found.
#[derive(Debug)]
struct Found {
    detection: Detection,
    /// The source is in it: a cache may be shared by identities in other environments.
    partition: Partition,
}

/// What it takes to ask any source.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) id: ManagedIdentityId,
    pub(crate) capabilities: Vec<String>,
    pub(crate) imds: ImdsClient,
    pub(crate) http: HttpClient,
    pub(crate) policies: Policies,
    pub(crate) deadline: Duration,
    /// Where challenge files of the Azure Arc agent are, if not where the platform's agent puts them.
    pub(crate) azure_arc_tokens: Option<PathBuf>,
}

/// When to ask again.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(crate) imds: RetryPolicy,
    pub(crate) others: RetryPolicy,
}

impl Bearer {
    pub(crate) fn new(asking: Asking, cache: TokenCache) -> Self {
        Self { asking: Arc::new(asking), cache, found: OnceLock::new() }
    }

    pub(crate) fn detection(&self) -> &Detection {
        &self.found().detection
    }

    fn found(&self) -> &Found {
        self.found.get_or_init(|| {
            let Asking { id, http, .. } = &*self.asking;
            let env = http.context().env();
            let detection = Detection::of(env);
            let partition = partition(id, &format!("bearer\0{}", detection.source.as_str()));
            Found { detection, partition }
        })
    }

    /// The token, if it is in the cache. Allocates nothing.
    pub(crate) fn cached(&self, request: &ManagedIdentityRequest<'_>) -> Option<Token> {
        if request.force_refresh || request.claims.is_some() || request.client_claims.is_some() {
            return None;
        }
        self.cache.find(&CacheKey::bearer(&self.found().partition, resource_name(request.resource)))
    }

    pub(crate) async fn acquire(&self, request: ManagedIdentityRequest<'_>) -> Result<Token, Error> {
        let Found { detection, partition } = self.found();
        let source = detection.source;
        let correlation_id = request.correlation_id.unwrap_or_else(CorrelationId::random);
        let resource = resource_name(request.resource);
        check(&request, source, resource).map_err(|error| error.with_correlation_id(correlation_id))?;
        let key = CacheKey::bearer(partition, resource);
        // Also where a refresh is forced (managed-identity sources DEV-13).
        let challenged = request.claims.and_then(|_| self.cache.find_even_if_due(&key));
        let refused = challenged.map(|token| sha256_hex(token.secret().expose()));
        let fetch = || Arc::clone(&self.asking).fetch(source, resource.to_owned(), refused, correlation_id);
        match request.claims {
            Some(claims) => self.cache.renew(&key, claims, fetch).await,
            None if request.force_refresh => self.cache.renew(&key, "", fetch).await,
            None => self.cache.obtain(&key, fetch).await,
        }
    }
}

/// The partition of one identity's tokens. Ids compare without case, as Azure's do; their kind is part of
/// it, because nobody but the source knows which ids belong together.
pub(crate) fn partition(id: &ManagedIdentityId, what: &str) -> Partition {
    let value = id.value().unwrap_or_default().to_ascii_lowercase();
    Partition::machine_bound(format!("mi\0{}\0{value}\0{what}", id.kind()))
}

/// As a source is told which of its tokens was refused (managed-identity sources §4.5).
fn sha256_hex(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What this source cannot do is refused, never dropped.
fn check(request: &ManagedIdentityRequest<'_>, source: Source, resource: &str) -> Result<(), Error> {
    if resource.is_empty() || resource.chars().any(char::is_control) {
        let error = "the request names no usable resource";
        return Err(Error::new(ErrorKind::Request, "invalid_scope", error)
            .with_advice("name the resource as its URI, for example https://vault.azure.net"));
    }
    merge_claims(request.claims, request.client_claims, &[])?;
    if request.client_claims.is_some() || request.claims.is_some() && !takes_claims(source) {
        let error = format!("{source} takes no such claims for bearer tokens; nothing was sent");
        return Err(Error::new(ErrorKind::Request, "claims_not_supported", error)
            .with_advice("ask for a bound token, or force a refresh without claims"));
    }
    Ok(())
}

impl Asking {
    fn clock(&self) -> &SharedClock {
        self.http.context().clock()
    }

    async fn fetch(
        self: Arc<Self>,
        source: Source,
        resource: String,
        refused: Option<String>,
        correlation_id: CorrelationId,
    ) -> Result<Fetched, Error> {
        let capabilities: &[String] = if takes_claims(source) { &self.capabilities } else { &[] };
        let question = Question {
            resource: &resource,
            id: &self.id,
            capabilities,
            refused: refused.as_deref(),
            correlation_id,
        };
        let began = self.clock().now();
        let outcome = within(self.clock(), self.deadline, self.ask(source, &question)).await;
        let fetched = outcome.unwrap_or_else(|| Err(late(source)));
        let took = self.clock().now().duration_since(began).unwrap_or_default();
        fetched
            .map(|(fetched, attempts)| fetched.after(attempts, took))
            .map_err(|error| error.with_correlation_id(correlation_id))
    }

    async fn ask(&self, source: Source, question: &Question<'_>) -> Result<(Fetched, usize), Error> {
        let exchange = Exchange {
            source,
            http: &self.http,
            policy: &self.policies.others,
            correlation_id: question.correlation_id,
        };
        let one = async |request: Result<Request, Error>| exchange.token(&exchange.send(&request?).await?);
        match source {
            Source::AppService => one(app_service::request(question, self.http.context().env())).await,
            Source::ServiceFabric => one(service_fabric::request(question, self.http.context().env())).await,
            Source::MachineLearning => {
                one(machine_learning::request(question, self.http.context().env())).await
            }
            Source::CloudShell => one(cloud_shell::request(question, self.http.context().env())).await,
            Source::AzureArc => {
                let tokens = self.azure_arc_tokens.clone();
                let tokens = tokens.or_else(|| ArcAgent::of_this_machine(self.http.context().env()).tokens());
                azure_arc::token(question, self.http.context().env(), tokens.as_deref(), &exchange).await
            }
            Source::Imds => imds_v1::token(question, &self.imds, &self.policies.imds).await,
        }
    }
}

fn late(source: Source) -> Error {
    let advice = match source {
        Source::Imds => "check that this is an Azure machine, or allow more time",
        _ => "try again later, or allow more time",
    };
    Error::new(ErrorKind::Network, "timeout", format!("{source} did not issue a token in time"))
        .with_advice(advice)
        .with_transient(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the revocation design (managed-identity sources §4.5).
    #[test]
    fn a_refused_token_is_named_by_its_sha_256() {
        let expected = "cc0af97287543b65da2c7e1476426021826cab166f1e063ed012b855ff819656";
        assert_eq!(sha256_hex("test_token"), expected);
    }
}
