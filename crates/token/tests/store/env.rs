//! Processes that share a store, and responses of the token service.

use std::time::Duration;

use http::StatusCode;
use symbolon_token::authority::Authority;
use symbolon_token::{Application, ClientSecret, MemoryStore, Token, TokenCache, TokenClient, TokenOrigin};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Response, RetryPolicy, Transport, TransportError};
use symbolon_types::{Context, Jitter, ManualClock, Secret, SharedClock};

pub(crate) const SCOPE: &str = "https://graph.example/.default";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A store and a clock that processes share. Each process has its own cache.
pub(crate) struct TestEnv {
    pub(crate) manual_clock: ManualClock,
    pub(crate) clock: SharedClock,
    pub(crate) store: MemoryStore,
}

impl TestEnv {
    pub(crate) fn new() -> Self {
        let manual_clock = ManualClock::new();
        let clock = SharedClock::from(&manual_clock);
        Self { manual_clock, store: MemoryStore::new(clock.clone()), clock }
    }

    pub(crate) fn cache(&self) -> TokenCache {
        TokenCache::new(
            100,
            &Context::default().with_clock(self.clock.clone()).with_jitter(Jitter::fixed(0.0)),
        )
        .with_store(self.store.clone())
    }

    pub(crate) fn process(&self, transport: &ScriptedTransport) -> TokenClient {
        self.process_with(transport, self.cache())
    }

    pub(crate) fn process_with(&self, transport: &ScriptedTransport, cache: TokenCache) -> TokenClient {
        self.process_over(transport.clone(), cache)
    }

    pub(crate) fn process_over(&self, transport: impl Transport, cache: TokenCache) -> TokenClient {
        let authority = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
        let application = Application::new(authority, "client").unwrap();
        let credential = ClientSecret::new(application, Secret::new("secret")).unwrap();
        TokenClient::builder(credential, transport)
            .context(Context::default().with_clock(self.clock.clone()))
            .cache(cache)
            .retry(RetryPolicy::once())
            .build()
    }
}

pub(crate) fn issued(token: &str) -> Result<Response, TransportError> {
    let body = format!(r#"{{"token_type":"Bearer","access_token":"{token}","expires_in":3600}}"#);
    Ok(Response::new(StatusCode::OK, body))
}

/// A response about the user `u` in the tenant `t`.
pub(crate) fn issued_with_refresh_token(
    token: &str,
    refresh_token: &str,
) -> Result<Response, TransportError> {
    let body = format!(
        r#"{{"token_type":"Bearer","access_token":"{token}","expires_in":3600,
            "refresh_token":"{refresh_token}","client_info":"eyJ1aWQiOiJ1IiwidXRpZCI6InQifQ"}}"#
    );
    Ok(Response::new(StatusCode::OK, body))
}

pub(crate) fn shown(token: &Token) -> (&str, TokenOrigin) {
    (token.secret().expose(), token.origin())
}
