//! The authentication of a client.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use symbolon_types::{ClientIdentity, Error, Secret, Thumbprint};

use super::cache_identity::CacheIdentity;
use crate::authority::RegionOutcome;
use crate::oauth::{ASSERTION, ManagedIdentityKind, Scheme, TokenEndpoint, jwt_payload};
use crate::token::{Partition, TokenOwner};

/// A parameter of the body of a token request.
type Parameter = (Cow<'static, str>, Secret);
/// A function that creates the parameters of one HTTP request, at the time given.
type Fresh = dyn Fn(SystemTime) -> Result<FreshParameters, Error> + Send + Sync;

/// Parameters that are created anew for each HTTP request, retries included.
pub type FreshParameters = Vec<(Cow<'static, str>, Secret)>;

/// The authentication of a client at a token endpoint. Immutable; clones are cheap.
#[derive(Clone)]
#[must_use]
pub struct ClientAuth(Arc<ClientAuthParts>);

#[derive(Clone)]
struct ClientAuthParts {
    client_id: Arc<str>,
    owner: Arc<TokenOwner>,
    partition: Partition,
    token_endpoint: TokenEndpoint,
    parameters: Vec<Parameter>,
    fresh: Option<Arc<Fresh>>,
    identity: Option<ClientIdentity>,
    /// The certificate whose key signs the client assertions.
    signer: Option<ClientIdentity>,
    scheme: Scheme,
    region: RegionOutcome,
    managed_identity: Option<ManagedIdentityKind>,
}

impl ClientAuth {
    /// Creates the authentication of a client for bearer tokens, without a credential as yet.
    pub fn new(client_id: impl Into<Arc<str>>, token_endpoint: TokenEndpoint, partition: Partition) -> Self {
        let client_id = client_id.into();
        Self(Arc::new(ClientAuthParts {
            owner: Arc::new(TokenOwner { client_id: Some(Arc::clone(&client_id)), tenant_id: None }),
            client_id,
            partition,
            token_endpoint,
            parameters: Vec::new(),
            fresh: None,
            identity: None,
            signer: None,
            scheme: Scheme::Bearer,
            region: RegionOutcome::None,
            managed_identity: None,
        }))
    }

    /// Sets the tenant.
    pub fn with_tenant_id(self, tenant_id: impl Into<Arc<str>>) -> Self {
        self.edit(|parts| Arc::make_mut(&mut parts.owner).tenant_id = Some(tenant_id.into()))
    }

    /// Adds a parameter to the body of the token request.
    pub fn with_parameter(self, name: impl Into<Cow<'static, str>>, value: Secret) -> Self {
        self.edit(|parts| parts.parameters.push((name.into(), value)))
    }

    /// Adds parameters that are created anew for each HTTP request, such as a client assertion that
    /// must not be sent twice (RFC 7523 §3).
    pub fn with_fresh_parameters(
        self,
        make: impl Fn(SystemTime) -> Result<FreshParameters, Error> + Send + Sync + 'static,
    ) -> Self {
        self.edit(|parts| parts.fresh = Some(Arc::new(make)))
    }

    /// Declares the certificate whose key signs the client assertions. Nothing is sent after its
    /// end.
    pub fn signed_by(self, identity: ClientIdentity) -> Self {
        self.edit(|parts| parts.signer = Some(identity))
    }

    /// Presents a certificate to the token endpoint. The token stays a bearer token.
    pub fn with_identity(self, identity: ClientIdentity) -> Self {
        self.edit(|parts| parts.identity = Some(identity))
    }

    /// Presents a certificate to the token endpoint, and requests a token that is bound to it.
    pub fn with_proof_of_possession(self, identity: ClientIdentity) -> Self {
        self.edit(|parts| {
            parts.scheme = Scheme::MtlsPop(identity.clone());
            parts.identity = Some(identity);
        })
    }

    /// Declares the client a managed identity of this kind.
    pub fn of_managed_identity(self, kind: ManagedIdentityKind) -> Self {
        self.edit(|parts| parts.managed_identity = Some(kind))
    }

    pub(crate) fn in_region(self, region: RegionOutcome) -> Self {
        self.edit(|parts| parts.region = region)
    }

    fn edit(mut self, change: impl FnOnce(&mut ClientAuthParts)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns the client identifier (RFC 6749 §2.2).
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.0.client_id
    }

    /// Returns the tenant, if known.
    #[must_use]
    pub fn tenant_id(&self) -> Option<&str> {
        self.0.owner.tenant_id.as_deref()
    }

    /// Returns the token endpoint.
    #[must_use]
    pub fn token_endpoint(&self) -> &TokenEndpoint {
        &self.0.token_endpoint
    }

    /// Returns the certificate to present to the token endpoint.
    #[must_use]
    pub fn identity(&self) -> Option<&ClientIdentity> {
        self.0.identity.as_ref()
    }

    /// Returns the scheme of the token: bearer, or bound to a certificate.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.0.scheme
    }

    /// Returns the certificates that authenticate the client: on TLS, and in its assertions.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &ClientIdentity> {
        self.0.identity.iter().chain(&self.0.signer)
    }

    /// Returns a digest of the credential, which is the same for all assertions of one issuer about
    /// one subject: only their dates and ids differ.
    pub(crate) fn digest(&self) -> Thumbprint {
        let mut text = format!("{}\0{}", self.client_id(), self.token_endpoint().url());
        for certificate in self.certificates() {
            text.push_str(&format!("\0{}", certificate.thumbprint()));
        }
        for (name, value) in &self.0.parameters {
            let value = stable_form(value.expose());
            text.push_str(&format!("\0{name}\0{}", Thumbprint::of(value.as_bytes())));
        }
        Thumbprint::of(text.as_bytes())
    }

    /// Returns true if parameters are created anew for each HTTP request.
    pub(crate) fn has_fresh_parameters(&self) -> bool {
        self.0.fresh.is_some()
    }

    pub(crate) fn managed_identity(&self) -> Option<ManagedIdentityKind> {
        self.0.managed_identity
    }

    pub(crate) fn region(&self) -> &RegionOutcome {
        &self.0.region
    }

    /// Returns the client and the tenant, for the tokens that are issued to them.
    pub(crate) fn owner(&self) -> Arc<TokenOwner> {
        Arc::clone(&self.0.owner)
    }

    /// Replaces the client and the tenant by the same ones, shared.
    pub(crate) fn with_owner(self, owner: Arc<TokenOwner>) -> Self {
        self.edit(|parts| parts.owner = owner)
    }

    pub(crate) fn partition(&self) -> &Partition {
        &self.0.partition
    }

    /// Returns the part of the cache key that depends on this authentication.
    pub(crate) fn cache_identity(&self) -> CacheIdentity<'_> {
        let identity = CacheIdentity::bearer(&self.0.partition);
        match self.scheme().bound_to() {
            Some(bound_to) => identity.bound_to(Cow::Borrowed(bound_to)),
            None => identity,
        }
    }

    /// Returns the client assertion, if the client did not sign it itself.
    pub(crate) fn foreign_assertion(&self) -> Option<&Secret> {
        self.0.parameters.iter().find(|(name, _)| name == ASSERTION).map(|(_, assertion)| assertion)
    }

    /// Returns the parameters of a request that is sent at this time.
    pub(crate) fn parameters(&self, now: SystemTime) -> Result<Vec<Parameter>, Error> {
        let mut parameters = self.0.parameters.clone();
        if let Some(fresh) = &self.0.fresh {
            parameters.extend(fresh(now)?);
        }
        Ok(parameters)
    }
}

/// Returns the claims of a JWT that are the same in the next one of its issuer; any other text as
/// it is.
fn stable_form(value: &str) -> Cow<'_, str> {
    let Some(serde_json::Value::Object(mut claims)) = jwt_payload(value) else { return value.into() };
    for name in ["exp", "iat", "jti", "nbf"] {
        claims.remove(name);
    }
    serde_json::Value::Object(claims).to_string().into()
}

symbolon_types::debug_fields!(
    ClientAuth |this|
    token_endpoint: this.0.token_endpoint, scheme: this.0.scheme.token_type(),
    has_identity: this.0.identity.is_some()
);
