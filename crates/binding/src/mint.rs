//! One mint, from the key to the binding. (IMDSv2 §0.3.)

use bytes::Bytes;
use futures_util::future::try_join;
use symbolon_transport::RetryPolicy;
use symbolon_types::{
    ClientIdentity, CorrelationId, Error, ErrorKind, SharedSigningKey, SigningKey, Strength,
};

use crate::certificate::Issued;
use crate::credential::{self, Credential};
use crate::csr::Csr;
use crate::elapsed::Elapsed;
use crate::imds::{Imds, Leg, Question};
use crate::platform_metadata::PlatformMetadata;
use crate::token_endpoint::TokenHosts;
use crate::{Binding, KeyProvider, ManagedIdentityId, SharedKeyProvider};

/// What a mint needs. It keeps nothing of what it makes.
pub(crate) struct Mint {
    pub(crate) imds: Imds,
    pub(crate) metadata_policy: RetryPolicy,
    pub(crate) issuance_policy: RetryPolicy,
    pub(crate) keys: SharedKeyProvider,
    pub(crate) minimum_strength: Option<Strength>,
    pub(crate) token_hosts: TokenHosts,
}

/// For whom a binding is minted, and under which id that is logged.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) id: &'a ManagedIdentityId,
    pub(crate) correlation_id: CorrelationId,
}

impl Mint {
    /// A new binding.
    pub(crate) async fn binding(&self, asking: Asking<'_>) -> Result<Binding, Error> {
        let (metadata, key) = try_join(self.metadata(asking), self.key()).await?;
        let (csr, key) = self.request(&metadata, key).await?;
        let body = credential::request_body(&csr)?;
        let response =
            self.imds.ask(&self.question(Leg::IssueCredential, asking, Some(body))).await?.response;
        let Credential { client_id, tenant_id, certificate, mtls_authentication_endpoint } =
            Credential::read(&response, &metadata)?;
        let token_endpoint = self.token_hosts.endpoint(&mtls_authentication_endpoint, &tenant_id)?;
        let now = self.imds.clock().now();
        let issuer_date = response.date();
        let identity: ClientIdentity =
            Issued { base64: &certificate, key: &key, client_id: &client_id, now, issuer_date }.accept()?;
        Ok(Binding::new(identity, token_endpoint, client_id, tenant_id, now))
    }

    /// The request for this key. A key that turns out to be gone is replaced once: the provider is
    /// told nothing, but finds out for itself when it is asked again.
    async fn request(
        &self,
        metadata: &PlatformMetadata,
        key: SharedSigningKey,
    ) -> Result<(Csr, SharedSigningKey), Error> {
        match Csr::new(&metadata.subject(), &key) {
            Err(error) if error.code() == "key_gone" => {
                tracing::warn!("the key is gone; the key provider is asked for another one");
                let another = self.key().await?;
                Ok((Csr::new(&metadata.subject(), &another)?, another))
            }
            made => Ok((made?, key)),
        }
    }

    async fn metadata(&self, asking: Asking<'_>) -> Result<PlatformMetadata, Error> {
        let sent = self.imds.ask(&self.question(Leg::PlatformMetadata, asking, None)).await?;
        PlatformMetadata::read(&sent.response)
    }

    fn question<'a>(&'a self, leg: Leg, asking: Asking<'a>, body: Option<Bytes>) -> Question<'a> {
        let Asking { id, correlation_id } = asking;
        let policy = match leg {
            Leg::PlatformMetadata => &self.metadata_policy,
            _ => &self.issuance_policy,
        };
        Question { leg, id, resource: None, body, policy, correlation_id }
    }

    async fn key(&self) -> Result<SharedSigningKey, Error> {
        let elapsed = Elapsed::on(self.imds.clock());
        let key = self.keys.key().await?;
        let strength = key.strength();
        tracing::debug!(%strength, duration_ms = elapsed.millis(), "the key provider yielded a key");
        match self.minimum_strength {
            Some(minimum) if strength < minimum => Err(Error::new(
                ErrorKind::Environment,
                "min_strength_not_met",
                format!("the key provider yielded a key of strength {strength}, but {minimum} is required"),
            )
            .with_advice("use a key provider that keeps keys at least that well, or lower the requirement")),
            _ => Ok(key),
        }
    }
}
