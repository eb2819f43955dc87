//! The way of a token request that was not answered by the cache.

use std::sync::Arc;

use symbolon_lease::LeaseKey;
use symbolon_types::Error;

use super::exchange::TokenExchange;
use super::owned_request::OwnedRequest;
use super::parts::ClientParts;
use crate::cache::events;
use crate::credential::{CacheIdentity, ClientAuth};
use crate::token::{CacheKey, Token};

/// Returns the token from the cache or from the token endpoint.
///
/// If the current certificate has no token yet, that of an earlier certificate is returned at once,
/// and the request runs in the background (`docs/guide/refusal.md#a-new-certificate`).
pub(super) async fn acquire(request: Arc<OwnedRequest>) -> Result<Token, Error> {
    let ClientParts { cache, credential, bound_tokens, .. } = &*request.parts;
    let (predecessor, auth) = match credential.cache_identity_erased(&request.credential_request()) {
        Some(identity) => (predecessor(&request, &identity), None),
        None => {
            let auth = request.authenticate_in_time().await?;
            (predecessor(&request, &auth.cache_identity()), Some(auth))
        }
    };
    let Some(predecessor) = predecessor else { return fetch(Arc::clone(&request), auth).await };
    let token = bound_tokens.serve(cache, predecessor, || fetch(Arc::clone(&request), auth)).await;
    events::served(&token);
    Ok(token)
}

/// Returns the token of an earlier certificate if the current one has none.
fn predecessor(request: &OwnedRequest, identity: &CacheIdentity<'_>) -> Option<Token> {
    let ClientParts { cache, bound_tokens, .. } = &*request.parts;
    let key = request.key(identity);
    if request.bypass_key.is_some() || !key.is_bound || cache.find_even_if_due(&key).is_some() {
        return None;
    }
    bound_tokens.find(cache, &key)
}

/// Returns the token of the current certificate from the cache or from the token endpoint.
async fn fetch(request: Arc<OwnedRequest>, auth: Option<ClientAuth>) -> Result<Token, Error> {
    let ClientParts { cache, credential, throttle, bound_tokens, .. } = &*request.parts;
    let identified = request.credential_request();
    let held = credential.cache_identity_erased(&identified).filter(CacheIdentity::is_complete);
    // The credential authenticates once for each exchange: here if the cache key depends on it,
    // otherwise in the exchange, which all requests for the key share.
    let authenticated;
    let (identity, auth) = match (auth, held) {
        (None, Some(held)) => (held, None),
        (auth, _) => {
            authenticated = match auth {
                Some(auth) => auth,
                None => request.authenticate_in_time().await?,
            };
            (authenticated.cache_identity(), Some(authenticated.clone()))
        }
    };
    let key = request.key(&identity);
    let auth = match changed_auth(&request, &key, auth).await {
        Ok(auth) => auth,
        Err(error) if request.bypass_key.is_some() => return Err(error),
        Err(error) => return cache.find_even_if_due(&key).inspect(events::served).ok_or(error),
    };
    let exchange = TokenExchange {
        request: Arc::clone(&request),
        key: key.to_key(),
        auth,
        reason: request.refresh_reason(&key),
        trace: Arc::default(),
    };
    // Boxed, because the future is large, and a debug build copies it onto the stack at each level.
    let token = match (request.bypass_key.as_deref(), throttle.check(&key)) {
        (Some(_), Err(error)) => Err(error),
        // A token that is due for refresh is better than an error.
        (None, Err(error)) => cache.find_even_if_due(&key).inspect(events::served).ok_or(error),
        (Some(bypass_key), Ok(())) => {
            cache.renew_for(&key, exchange.reason, bypass_key, || Box::pin(exchange.run())).await
        }
        // A store that does not respond leaves the exchange half of the time.
        (None, Ok(())) => {
            let limit = request.parts.time_left(request.started) / 2;
            cache.obtain_within(&key, exchange.reason, limit, || Box::pin(exchange.run())).await
        }
    }?;
    if let Some(certificate) = token.bound_to() {
        bound_tokens.record(token.key(), certificate);
    }
    Ok(token)
}

/// Returns the authentication for the exchange. While the pause after a refused credential lasts,
/// that is an error, unless the credential has changed or the caller demands a new token.
async fn changed_auth(
    request: &OwnedRequest,
    key: &CacheKey<'_>,
    auth: Option<ClientAuth>,
) -> Result<Option<ClientAuth>, Error> {
    let refusal = if request.is_forced { None } else { request.parts.throttle.refused.find(key) };
    let Some((error, refused)) = refusal else { return Ok(auth) };
    let auth = match auth {
        Some(auth) => auth,
        None => request.authenticate_in_time().await?,
    };
    if auth.digest() == refused { Err(error) } else { Ok(Some(auth)) }
}
