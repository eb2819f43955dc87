//! The settings and the state that all calls of a client share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use symbolon_token::{RequestOptions, Token};
use symbolon_types::{ClientIdentity, Context, Error, WeakClientIdentity};

use crate::body::BodyLimits;
use crate::connections::HttpConnections;
use crate::destination::{AllowedHosts, Destination};
use crate::fallback::{BearerFallback, FallbackMemory};
use crate::late_certificate::LateCertificatePolicy;
use crate::provider::{ErasedProvider, ProviderRequest};

/// The settings and the state that all calls of a client share.
pub(crate) struct ClientSettings<C> {
    pub(crate) provider: Arc<dyn ErasedProvider>,
    pub(crate) resource: String,
    pub(crate) resource_host: Option<String>,
    pub(crate) proof_of_possession: bool,
    pub(crate) fallback: BearerFallback,
    pub(crate) fallback_memory: FallbackMemory,
    pub(crate) connections: C,
    pub(crate) context: Context,
    pub(crate) deadline: Duration,
    pub(crate) body_limits: BodyLimits,
    pub(crate) replay_limit: usize,
    pub(crate) retries: u32,
    pub(crate) headers: HeaderMap,
    pub(crate) late_certificate: LateCertificatePolicy,
    pub(crate) allowed_hosts: AllowedHosts,
    pub(crate) has_warned: AtomicBool,
    /// The certificate of the latest token.
    pub(crate) latest_identity: Mutex<WeakClientIdentity>,
}

impl<C: HttpConnections> ClientSettings<C> {
    /// Drains the connections of the former certificate, if this one has replaced it. Calls that
    /// have begun may still use the former.
    pub(crate) fn follow(&self, identity: &ClientIdentity) {
        let mut latest = self.latest_identity.lock().unwrap_or_else(PoisonError::into_inner);
        let former = latest.upgrade();
        if former.as_ref().is_some_and(|former| former.not_after() >= identity.not_after()) {
            return;
        }
        *latest = identity.downgrade();
        drop(latest);
        if let Some(former) = former {
            self.connections.drain(&former);
        }
    }
}

impl<C> ClientSettings<C> {
    /// Returns a token, with the claims of a challenge if there is one.
    pub(crate) async fn token(&self, claims: Option<&str>) -> Result<Token, Error> {
        let options = match claims {
            Some(claims) => RequestOptions::default().with_claims(claims),
            None => RequestOptions::default(),
        };
        let request =
            |proof_of_possession| ProviderRequest { resource: &self.resource, proof_of_possession, options };
        if !self.proof_of_possession || self.uses_fallback() {
            return self.provider.token_erased(&request(false)).await;
        }
        match self.provider.token_erased(&request(true)).await {
            Err(error) if self.fallback.applies_to(&error) => {
                tracing::warn!(
                    resource = self.resource,
                    server_codes = ?error.server_codes(),
                    "the resource takes no bound tokens; using bearer tokens instead"
                );
                self.fallback_memory.activate(self.context.clock().steady_now());
                self.provider.token_erased(&request(false)).await
            }
            result => result,
        }
    }

    fn uses_fallback(&self) -> bool {
        self.fallback != BearerFallback::Never
            && self.fallback_memory.is_active(self.context.clock().steady_now())
    }

    /// Refuses a host that is not allowed. Without a list of hosts, another host than that of the
    /// resource leads to a warning, once.
    pub(crate) fn check_host(&self, destination: &Destination) -> Result<(), Error> {
        self.allowed_hosts.check(destination)?;
        if self.allowed_hosts.is_suspicious(destination, self.resource_host.as_deref())
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                server.address = destination.host,
                resource = self.resource,
                "the token is sent to another host than the resource's; list the hosts with `allowed_hosts`"
            );
        }
        Ok(())
    }
}

symbolon_types::debug_fields!(
    ClientSettings<C> |this|
    provider: this.provider, resource: this.resource, proof_of_possession: this.proof_of_possession
);
