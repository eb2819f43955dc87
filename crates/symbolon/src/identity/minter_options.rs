//! The options of a managed identity that concern certificates.

#[cfg(unix)]
use std::path::PathBuf;

use symbolon_binding::imds::ImdsPresence;
use symbolon_binding::{Attester, Minter, MinterBuilder, SharedKeyProvider};
use symbolon_token::Error;
use symbolon_transport::{HttpClient, RetryPolicy};
use symbolon_types::Strength;
use url::Url;

/// Everything that the minter is built from, apart from the metadata service.
#[derive(Debug, Default)]
pub(super) struct MinterOptions {
    pub(super) keys: Option<SharedKeyProvider>,
    pub(super) attester: Option<AddAttester>,
    pub(super) minimum_strength: Option<Strength>,
    #[cfg(unix)]
    pub(super) store_folder: Option<PathBuf>,
    pub(super) bypass_cache_on_remint: bool,
    pub(super) trusted_token_hosts: Vec<String>,
}

/// Adds an attester of any type to a minter.
pub(super) struct AddAttester(Box<dyn FnOnce(MinterBuilder) -> MinterBuilder + Send + Sync>);

impl AddAttester {
    pub(super) fn new(attester: impl Attester) -> Self {
        Self(Box::new(|minter| minter.attester(attester)))
    }
}

symbolon_types::debug_fields!(AddAttester);

impl MinterOptions {
    /// Returns the strength of new keys, if it is known before there is one.
    pub(super) fn new_key_strength(&self) -> Option<Strength> {
        self.keys.is_none().then_some(Strength::Software)
    }

    /// Names the requirements that certificates are issued under. Tokens under other requirements
    /// are kept apart.
    pub(super) fn requirements(&self) -> String {
        let minimum = self.minimum_strength.map_or("none", Strength::as_str);
        format!("{minimum}\0{}", self.attester.is_some())
    }

    pub(super) fn build(
        self,
        imds_url: Url,
        presence: Option<ImdsPresence>,
        http: &HttpClient,
        retry: impl Fn(RetryPolicy) -> RetryPolicy,
    ) -> Result<Minter, Error> {
        let mut minter = Minter::builder(imds_url, http.clone())
            .presence(presence)
            .minimum_strength(self.minimum_strength)
            .metadata_retry_policy(retry(RetryPolicy::imds_endpoint()))
            .issuance_retry_policy(retry(RetryPolicy::imds()))
            .trusted_token_hosts(self.trusted_token_hosts)
            .bypass_cache_on_remint(self.bypass_cache_on_remint);
        #[cfg(unix)]
        if let Some(folder) = self.store_folder {
            minter = minter.store(&folder);
            if self.keys.is_none() {
                let keys = symbolon_binding::PersistedKeys::rsa_2048(folder);
                minter = minter.key_provider(keys.with_context(http.context().clone()));
            }
        }
        if let Some(keys) = self.keys {
            minter = minter.key_provider(keys);
        }
        if let Some(AddAttester(add)) = self.attester {
            minter = add(minter);
        }
        minter.build()
    }
}
