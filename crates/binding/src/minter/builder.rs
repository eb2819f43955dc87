//! How a minter is made.

use symbolon_transport::{HttpClient, RetryPolicy};
use symbolon_types::{Error, Strength};
use url::Url;

use super::Minter;
use crate::imds::Imds;
use crate::mint::Mint;
use crate::token_endpoint::TokenHosts;
use crate::{KeyProvider, SharedKeyProvider, SoftwareKeys};

/// Makes a [`Minter`]; see [`Minter::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct MinterBuilder {
    imds_base: Url,
    http: HttpClient,
    keys: SharedKeyProvider,
    minimum_strength: Option<Strength>,
    metadata_policy: RetryPolicy,
    issuance_policy: RetryPolicy,
    trusted_token_hosts: Vec<String>,
    allow_insecure_loopback: bool,
}

impl MinterBuilder {
    pub(super) fn new(imds_base: Url, http: HttpClient) -> Self {
        Self {
            imds_base,
            http,
            keys: SharedKeyProvider::new(SoftwareKeys::default()),
            minimum_strength: None,
            metadata_policy: RetryPolicy::imds_endpoint(),
            issuance_policy: RetryPolicy::imds(),
            trusted_token_hosts: Vec::new(),
            allow_insecure_loopback: false,
        }
    }

    /// Where keys come from. Default: [`SoftwareKeys::rsa_2048`].
    pub fn key_provider(mut self, provider: impl KeyProvider) -> Self {
        self.keys = SharedKeyProvider::new(provider);
        self
    }

    /// The least that a key must be kept by. A floor and not a choice: a key below it fails the
    /// mint before a certificate is asked for. Default: none.
    pub fn minimum_strength(mut self, minimum: Option<Strength>) -> Self {
        self.minimum_strength = minimum;
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
        Ok(Minter::new(Mint {
            imds: Imds::new(self.imds_base, self.http)?,
            metadata_policy: self.metadata_policy,
            issuance_policy: self.issuance_policy,
            keys: self.keys,
            minimum_strength: self.minimum_strength,
            token_hosts: TokenHosts::new(self.trusted_token_hosts, self.allow_insecure_loopback)?,
        }))
    }
}
