//! Builder of a minter.

#[cfg(unix)]
use std::path::PathBuf;
use std::time::Duration;

use symbolon_transport::{HttpClient, RetryPolicy};
use symbolon_types::{Error, Strength};
use url::Url;

use crate::attestation::{AttestationCache, Attester};
use crate::imds::{ImdsClient, ImdsPresence};
use crate::issuance::TokenHosts;
use crate::mint::IssuanceClient;
use crate::{KeyProvider, Minter, SharedKeyProvider, SoftwareKeys};

/// Timeout of an attester. A device quotes its state, and a service judges it, in a second or two.
const ATTESTATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Builder of a [`Minter`]; see [`Minter::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct MinterBuilder {
    imds_base: Url,
    http: HttpClient,
    presence: Option<ImdsPresence>,
    keys: SharedKeyProvider,
    attestations: Option<AttestationCache>,
    minimum_strength: Option<Strength>,
    metadata_policy: RetryPolicy,
    issuance_policy: RetryPolicy,
    trusted_token_hosts: Vec<String>,
    allow_insecure_loopback: bool,
    bypass_cache_on_remint: bool,
    #[cfg(unix)]
    store: Option<PathBuf>,
}

impl Minter {
    /// Returns a builder. `imds_base` is the address of the metadata service, of which only the
    /// origin is used; on Azure it is [`IMDS_BASE_URL`](crate::imds::IMDS_BASE_URL).
    pub fn builder(imds_base: Url, http: HttpClient) -> MinterBuilder {
        MinterBuilder {
            imds_base,
            http,
            presence: None,
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
}

impl MinterBuilder {
    /// Probes for the metadata service before the first request, unless the record shows that it
    /// has responded; see [`ImdsClient::with_presence`]. Default: no probe.
    pub fn presence(mut self, presence: Option<ImdsPresence>) -> Self {
        self.presence = presence;
        self
    }

    /// Sets the provider of keys. Default: [`SoftwareKeys::rsa_2048`].
    pub fn key_provider(mut self, provider: impl KeyProvider) -> Self {
        self.keys = SharedKeyProvider::new(provider);
        self
    }

    /// Attests every key before a certificate is requested for it. If the attestation fails, or
    /// takes more than 30 seconds, the mint fails. Default: no attestation.
    pub fn attester(mut self, attester: impl Attester) -> Self {
        let clock = self.http.context().clock().clone();
        self.attestations = Some(AttestationCache::new(attester, clock, ATTESTATION_TIMEOUT));
        self
    }

    /// Sets the minimum strength of keys. A weaker key fails the mint before a certificate is
    /// requested. Default: none.
    pub fn minimum_strength(mut self, minimum: Option<Strength>) -> Self {
        self.minimum_strength = minimum;
        self
    }

    /// Stores bindings in this folder. They outlive the process, and all processes of this user on
    /// this machine mint once. Default: bindings are kept in memory only.
    ///
    /// The folder is created with mode 0700 if it is missing. A folder that other users can access
    /// fails the first request for a binding. It contains certificates and no keys, so use a
    /// [`key_provider`](Self::key_provider) whose key outlives the process too, such as
    /// [`PersistedKeys`](crate::PersistedKeys); a binding whose key is gone is minted again.
    ///
    /// Each process still requests the platform metadata once, so that a copy of the disk does not
    /// use the bindings of the original machine. An unusable file is set aside with a warning;
    /// nothing is deleted. Only on Unix.
    #[cfg(unix)]
    pub fn store(mut self, folder: impl Into<PathBuf>) -> Self {
        self.store = Some(folder.into());
        self
    }

    /// Sends `bypass_cache=true` with a mint that follows a refusal, so that the metadata service
    /// does not return a cached certificate. It is part of Microsoft's design of the revocation and
    /// was never tried against the service (docs/protocol/imdsv2.md#recovery). Default: false.
    pub fn bypass_cache_on_remint(mut self, bypass: bool) -> Self {
        self.bypass_cache_on_remint = bypass;
        self
    }

    /// Sets the retry policy of the metadata request. Default: [`RetryPolicy::imds_endpoint`],
    /// which does not retry after a 404, because the service then has no such endpoint.
    pub fn metadata_retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.metadata_policy = policy;
        self
    }

    /// Sets the retry policy of the certificate request. Default: [`RetryPolicy::imds`].
    pub fn issuance_retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.issuance_policy = policy;
        self
    }

    /// Trusts token endpoints on these hosts and their subdomains, in addition to loopback
    /// addresses and the Microsoft token services of the public, US Government and China clouds.
    pub fn trusted_token_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.trusted_token_hosts.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Accepts a token endpoint on a loopback address without TLS, for tests. No transport presents
    /// a certificate there. Default: false.
    pub fn allow_insecure_loopback(mut self, allow: bool) -> Self {
        self.allow_insecure_loopback = allow;
        self
    }

    /// Builds the minter.
    ///
    /// # Errors
    /// `invalid_configuration` when the address of the metadata service is not http or https, or a
    /// trusted token host is not a host name.
    pub fn build(self) -> Result<Minter, Error> {
        #[cfg(unix)]
        let clock = self.http.context().clock().clone();
        let client = IssuanceClient {
            imds: ImdsClient::new(self.imds_base, self.http)?.with_presence(self.presence),
            metadata_policy: self.metadata_policy,
            issuance_policy: self.issuance_policy,
            keys: self.keys,
            attestations: self.attestations,
            minimum_strength: self.minimum_strength,
            token_hosts: TokenHosts::new(self.trusted_token_hosts, self.allow_insecure_loopback)?,
        };
        Ok(Minter::new(
            client,
            self.bypass_cache_on_remint,
            #[cfg(unix)]
            self.store.map(|folder| crate::minter::BindingStore::new(folder, clock)),
        ))
    }
}
