//! How a minter is made.

#[cfg(unix)]
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use symbolon_lease::LeaseCache;
use symbolon_transport::{HttpClient, RetryPolicy};
use symbolon_types::{Error, Strength};
use url::Url;

use super::refusals::Refusals;
use super::watch::Watches;
use super::{CAPACITY, Inner, Minter};
use crate::attestation::{Attestations, Attester};
use crate::imds::ImdsClient;
use crate::mint::Mint;
use crate::token_endpoint::TokenHosts;
use crate::{KeyProvider, SharedKeyProvider, SoftwareKeys};

/// How long an attester may take. (Ours; a measured boot is quoted and judged in a second or two.)
const ATTESTATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a [`Minter`]; see [`Minter::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct MinterBuilder {
    imds_base: Url,
    http: HttpClient,
    keys: SharedKeyProvider,
    attestations: Option<Attestations>,
    minimum_strength: Option<Strength>,
    metadata_policy: RetryPolicy,
    issuance_policy: RetryPolicy,
    trusted_token_hosts: Vec<String>,
    allow_insecure_loopback: bool,
    bypass_cache_on_remint: bool,
    #[cfg(unix)]
    store: Option<PathBuf>,
}

impl MinterBuilder {
    pub(super) fn new(imds_base: Url, http: HttpClient) -> Self {
        Self {
            imds_base,
            http,
            keys: SharedKeyProvider::new(SoftwareKeys::default()),
            attestations: None,
            minimum_strength: None,
            metadata_policy: RetryPolicy::imds_endpoint(),
            issuance_policy: RetryPolicy::imds(),
            trusted_token_hosts: Vec::new(),
            allow_insecure_loopback: false,
            bypass_cache_on_remint: false,
            #[cfg(unix)]
            store: None,
        }
    }

    /// Where keys come from. Default: [`SoftwareKeys::rsa_2048`].
    pub fn key_provider(mut self, provider: impl KeyProvider) -> Self {
        self.keys = SharedKeyProvider::new(provider);
        self
    }

    /// Has every key attested before a certificate is asked for; without an attestation there is no
    /// certificate. An attester may take half a minute. Default: none, and no attestation.
    pub fn attester(mut self, attester: impl Attester) -> Self {
        self.attestations =
            Some(Attestations::new(attester, self.http.context().clock().clone(), ATTESTATION_TIMEOUT));
        self
    }

    /// The least that a key must be kept by. A floor and not a choice: a key below it fails the
    /// mint before a certificate is asked for. Default: none.
    pub fn minimum_strength(mut self, minimum: Option<Strength>) -> Self {
        self.minimum_strength = minimum;
        self
    }

    /// Keeps bindings in this folder, so that they outlive the process and are minted once for all
    /// processes of this user on this machine. Default: in memory only.
    ///
    /// The folder has mode 0700 and is made where it is missing; a folder that others can use is an
    /// error when a binding is first asked for. It holds certificates, no keys: use a
    /// [`key_provider`](Self::key_provider) whose key outlives the process too, such as
    /// [`PersistedKeys`](crate::PersistedKeys); a binding whose key is gone is minted anew. The
    /// metadata service is still asked once which machine this is, so that a copy of a disk does not
    /// use the bindings of its original. What cannot be used is set aside with a warning; nothing
    /// is deleted. Only on Unix.
    #[cfg(unix)]
    pub fn store(mut self, folder: impl Into<PathBuf>) -> Self {
        self.store = Some(folder.into());
        self
    }

    /// After a refusal, asks the metadata service not to issue from a cache of its own
    /// (`bypass_cache=true`). Microsoft's design of the revocation describes it; whether the service
    /// has it was not checked. Default: no.
    pub fn bypass_cache_on_remint(mut self, bypass: bool) -> Self {
        self.bypass_cache_on_remint = bypass;
        self
    }

    /// When to ask for the platform metadata again. Default: [`RetryPolicy::imds_endpoint`], under
    /// which a 404 is final, because it means that the service has no such endpoint.
    pub fn metadata_retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.metadata_policy = policy;
        self
    }

    /// When to ask for a certificate again. Default: [`RetryPolicy::imds`].
    pub fn issuance_retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.issuance_policy = policy;
        self
    }

    /// Also believes token endpoints at or under these host names, besides the Microsoft token
    /// services of the public, US Government and China clouds and this machine itself.
    pub fn trusted_token_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.trusted_token_hosts.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Accepts a token endpoint without TLS on this machine itself: for tests of what comes before
    /// the token request. No transport presents a certificate there. Default: no.
    pub fn allow_insecure_loopback(mut self, allow: bool) -> Self {
        self.allow_insecure_loopback = allow;
        self
    }

    /// The minter.
    ///
    /// # Errors
    /// `invalid_configuration` when the address of the metadata service is not http or https, or a
    /// trusted token host is not a host name.
    pub fn build(self) -> Result<Minter, Error> {
        let clock = self.http.context().clock().clone();
        let mint = Mint {
            imds: ImdsClient::new(self.imds_base, self.http)?,
            metadata_policy: self.metadata_policy,
            issuance_policy: self.issuance_policy,
            keys: self.keys,
            attestations: self.attestations,
            minimum_strength: self.minimum_strength,
            token_hosts: TokenHosts::new(self.trusted_token_hosts, self.allow_insecure_loopback)?,
        };
        Ok(Minter(Arc::new(Inner {
            mint,
            bypass_cache_on_remint: self.bypass_cache_on_remint,
            by_name: LeaseCache::new(CAPACITY, clock.clone()),
            by_id: LeaseCache::new(CAPACITY, clock.clone()),
            #[cfg(unix)]
            shelf: self.store.map(|folder| super::shelf::Shelf::new(folder, clock)),
            refusals: Mutex::new(Refusals::new(CAPACITY)),
            watches: Watches::default(),
        })))
    }
}
