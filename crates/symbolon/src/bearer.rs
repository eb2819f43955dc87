//! Bearer tokens: from the cache, or from the source of this environment.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};
use symbolon_lease::{RefusalCache, is_refusal};
use symbolon_token::{
    CacheKey, Error, ErrorKind, Partition, RequestOptions, Token, TokenCache, check_resource, merge_claims,
    resource_name,
};
use symbolon_types::{CorrelationId, Env, Source};

use crate::detection::Detection;
use crate::partition::{self, CurrentPartition, hexadecimal};
use crate::source::fetch::TokenFetcher;

/// Maximum number of remembered refusals.
const MAX_REFUSALS: usize = 1_000;

/// The bearer tokens of one managed identity.
#[derive(Debug)]
pub(crate) struct BearerTokens {
    fetcher: Arc<TokenFetcher>,
    cache: TokenCache,
    /// Requests that the source refused, by partition and resource
    /// (docs/protocol/sources.md#refusals).
    refusals: RefusalCache<(Partition, String), ()>,
    detection: OnceLock<Detection>,
    partition: CurrentPartition,
}

impl BearerTokens {
    pub(crate) fn new(fetcher: TokenFetcher, cache: TokenCache) -> Self {
        Self {
            refusals: RefusalCache::new(MAX_REFUSALS, fetcher.http.context().clock().clone()),
            fetcher: Arc::new(fetcher),
            cache,
            detection: OnceLock::new(),
            partition: CurrentPartition::default(),
        }
    }

    pub(crate) fn detection(&self) -> &Detection {
        self.detection.get_or_init(|| Detection::of(self.fetcher.http.context().env()))
    }

    /// Returns the token if it is in the cache. Does not allocate.
    pub(crate) fn cached(&self, resource: &str, options: &RequestOptions<'_>) -> Option<Token> {
        if options.bypass_key().is_some() || options.client_claims().is_some() {
            return None;
        }
        self.cache.find(&CacheKey::bearer(&self.partition.get()?, resource_name(resource)))
    }

    pub(crate) async fn acquire(&self, resource: &str, options: RequestOptions<'_>) -> Result<Token, Error> {
        let started = self.cache.clock().steady_now();
        let result = self.acquire_unobserved(resource, options).await;
        self.cache.complete(started, false, result)
    }

    async fn acquire_unobserved(&self, resource: &str, options: RequestOptions<'_>) -> Result<Token, Error> {
        let source = self.detection().source;
        let environment = self.fetcher.environment(source);
        let partition = partition(&self.fetcher, source, &environment);
        self.partition.set(&partition);
        let correlation_id = options.correlation_id().unwrap_or_else(CorrelationId::random);
        let resource = resource_name(resource);
        check(&options, source, resource).map_err(|error| error.with_correlation_id(correlation_id))?;
        let key = CacheKey::bearer(&partition, resource);
        // A token that is due, or whose refresh is forced, can still be the one that was refused.
        // (docs/protocol/sources.md#claims-and-revocation)
        let refused = options.claims().and_then(|_| self.cache.find_even_if_due(&key));
        let refused = refused.map(|token| sha256_hex(token.secret().expose()));
        let request = (partition.clone(), resource.to_owned());
        if !options.force_refresh()
            && let Some((error, ())) = self.refusals.find(&request)
        {
            let held = self.cache.find_even_if_due(&key).filter(|_| options.bypass_key().is_none());
            return held.ok_or(error);
        }
        let fetch = || {
            let fetcher = Arc::clone(&self.fetcher);
            let (resource, deadline) = (resource.to_owned(), options.deadline());
            let refusals = self.refusals.clone();
            async move {
                let fetched =
                    fetcher.fetch(source, environment, resource, refused, deadline, correlation_id).await;
                match &fetched {
                    Ok(_) => refusals.remove(&request),
                    Err(error) if is_refusal(error) => refusals.insert(request, (), error),
                    Err(_) => {}
                }
                fetched
            }
        };
        match options.bypass_key() {
            Some(bypass_key) => self.cache.renew(&key, bypass_key, fetch).await,
            None => self.cache.obtain(&key, fetch).await,
        }
    }
}

fn partition(fetcher: &TokenFetcher, source: Source, environment: &Env) -> Partition {
    let mut scheme = format!("bearer\0{}", source.as_str());
    if let Some(extras) = &fetcher.extras {
        scheme.push_str(&format!("\0{extras}"));
    }
    partition::of_managed_identity(&fetcher.id, &scheme, environment)
}

fn sha256_hex(token: &str) -> String {
    hexadecimal(&Sha256::digest(token))
}

/// Refuses a request that the source cannot fulfil completely.
fn check(options: &RequestOptions<'_>, source: Source, resource: &str) -> Result<(), Error> {
    check_resource(resource)?;
    merge_claims(options.claims(), options.client_claims(), &[])?;
    let takes_challenges = source.info().replaces_refused_tokens;
    if options.client_claims().is_some() || options.claims().is_some() && !takes_challenges {
        let error = format!("{source} does not take claims for bearer tokens; nothing was sent");
        return Err(Error::new(ErrorKind::Request, "claims_not_supported", error)
            .with_advice("request a bound token, or force a refresh without claims"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of Microsoft's revocation design.
    /// (docs/protocol/sources.md#claims-and-revocation)
    #[test]
    fn refused_token_is_named_by_its_sha256() {
        let expected = "cc0af97287543b65da2c7e1476426021826cab166f1e063ed012b855ff819656";
        assert_eq!(sha256_hex("test_token"), expected);
    }
}
