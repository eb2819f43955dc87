//! A client and its authority.

use std::sync::Arc;

use symbolon_transport::HttpClient;
use symbolon_types::{Error, ErrorKind, input_flaw};
use url::Url;

use super::auth::ClientAuth;
use super::cache_identity::CacheIdentity;
use super::source::CredentialRequest;
use crate::authority::{
    Authority, AuthorityKind, EndpointQuery, ExpectedIssuer, LocatedEndpoint, RegionChoice, Router, Routing,
};
use crate::oauth::TokenEndpoint;
use crate::token::{CacheKey, Partition, TokenOwner};

/// A client that is registered at an authority (RFC 6749 §2.2), without its credential.
///
/// ```
/// # use symbolon_token::{Application, ClientSecret, authority::Authority};
/// # use symbolon_types::Secret;
/// let authority = Authority::parse("https://login.microsoftonline.com/contoso.example")?;
/// let application = Application::new(authority, "6731de76-14a6-49ae-97bc-6eba6914391e")?;
/// let credential = ClientSecret::new(application, Secret::new("from your vault"))?;
/// # Ok::<(), symbolon_token::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Application {
    client_id: Arc<str>,
    endpoint: EndpointSource,
    /// The client in its own tenant.
    owner: Arc<TokenOwner>,
    /// The partition of the application's own tenant.
    partition: Partition,
}

/// The source of the application's token endpoint.
#[derive(Clone, Debug)]
enum EndpointSource {
    Routed(Router),
    Fixed(TokenEndpoint),
}

impl Application {
    /// Creates a client of this authority. Its token endpoint follows from the authority and, for
    /// an unknown host, from instance discovery.
    ///
    /// # Errors
    /// `invalid_client_credential` if the client id is empty, in quotes, or has white space at an
    /// end or invisible characters.
    pub fn new(authority: Authority, client_id: &str) -> Result<Self, Error> {
        // All names of one Entra cloud issue the same tokens.
        let issuer = match authority.kind() {
            AuthorityKind::Entra => authority.cache_environment().into_owned(),
            _ => authority.as_str().to_owned(),
        };
        let tenant = authority.tenant().map(|tenant| tenant.as_str().to_owned()).unwrap_or_default();
        Self::with_endpoint(EndpointSource::Routed(Router::new(authority)), &issuer, &tenant, client_id)
    }

    /// Creates a client of one token endpoint.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn at(token_endpoint: TokenEndpoint, client_id: &str) -> Result<Self, Error> {
        let issuer = token_endpoint.url().to_string();
        Self::with_endpoint(EndpointSource::Fixed(token_endpoint), &issuer, "", client_id)
    }

    fn with_endpoint(
        endpoint: EndpointSource,
        issuer: &str,
        tenant: &str,
        client_id: &str,
    ) -> Result<Self, Error> {
        let flaw = if client_id.trim().is_empty() { Some("is empty") } else { input_flaw(client_id) };
        if let Some(flaw) = flaw {
            let error = format!("the client id {flaw}; nothing was sent");
            return Err(Error::new(ErrorKind::Request, "invalid_client_credential", error)
                .with_advice("set the client id of the app registration, without quotes and line breaks"));
        }
        // The partition names the authority, not the endpoint: a token is valid in all regions.
        let partition = Partition::of_tenant(&format!("app\0{issuer}\0"), tenant, &format!("\0{client_id}"));
        let client_id: Arc<str> = client_id.into();
        let tenant_id = (!tenant.is_empty()).then(|| tenant.into());
        let owner = Arc::new(TokenOwner { client_id: Some(Arc::clone(&client_id)), tenant_id });
        Ok(Self { client_id, endpoint, owner, partition })
    }

    /// Sets the region of Entra that issues the tokens. Default: none, unless the environment
    /// forces one.
    ///
    /// Tokens about a user come from a region only with a certificate, otherwise from the global
    /// host of the cloud (`docs/protocol/routing.md#regions`).
    pub fn region(self, region: RegionChoice) -> Self {
        self.routed(|router| router.with_region(region))
    }

    /// Sets whether an unknown host of Entra is validated before anything is sent to it. Default:
    /// `true`.
    pub fn instance_discovery(self, validates: bool) -> Self {
        self.routed(|router| router.with_instance_discovery(validates))
    }

    fn routed(mut self, change: impl FnOnce(Router) -> Router) -> Self {
        if let EndpointSource::Routed(router) = self.endpoint {
            self.endpoint = EndpointSource::Routed(change(router));
        }
        self
    }

    /// Returns the client identifier.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the authority, or `None` for a client of a fixed token endpoint.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        match &self.endpoint {
            EndpointSource::Routed(router) => Some(router.authority()),
            EndpointSource::Fixed(_) => None,
        }
    }

    pub(crate) fn authority_kind(&self) -> Option<AuthorityKind> {
        self.authority().map(Authority::kind)
    }

    /// Returns the cache identity of the client's bearer tokens.
    pub(crate) fn cache_identity<'a>(&'a self, request: &CredentialRequest<'a>) -> CacheIdentity<'a> {
        CacheIdentity::in_tenant(&self.partition, request.tenant())
    }

    /// Returns the client at its token endpoint, without its credential. `mtls` selects the
    /// endpoint for requests with a client certificate.
    pub(crate) async fn authenticate(
        &self,
        request: &CredentialRequest<'_>,
        mtls: bool,
    ) -> Result<ClientAuth, Error> {
        let tenant = request.tenant();
        let located = match &self.endpoint {
            EndpointSource::Fixed(endpoint) => fixed(endpoint, tenant)?.into(),
            EndpointSource::Routed(router) => {
                let query = EndpointQuery { tenant, mtls, for_user: request.for_user() };
                router.located(request.http(), request.http().context().env(), &query).await?
            }
        };
        Ok(self.authenticate_at(request, located))
    }

    /// Returns the token endpoint on the host of the authority, without discovery and region.
    pub(crate) fn unrouted_endpoint(&self, request: &CredentialRequest<'_>) -> Result<TokenEndpoint, Error> {
        let tenant = request.tenant();
        match &self.endpoint {
            EndpointSource::Fixed(endpoint) => fixed(endpoint, tenant),
            EndpointSource::Routed(router) => {
                let replaced = tenant.map(|tenant| router.authority().with_tenant(tenant)).transpose()?;
                replaced.as_ref().unwrap_or(router.authority()).token_endpoint(&Routing::default())
            }
        }
    }

    /// Returns the client at this endpoint, without its credential.
    pub(crate) fn authenticate_at(
        &self,
        request: &CredentialRequest<'_>,
        located: LocatedEndpoint,
    ) -> ClientAuth {
        let partition = self.cache_identity(request).partition();
        let auth = ClientAuth::new(Arc::clone(&self.client_id), located.endpoint, partition)
            .in_region(located.region);
        match request.tenant() {
            Some(tenant) => auth.with_tenant_id(tenant.to_ascii_lowercase()),
            None => auth.with_owner(Arc::clone(&self.owner)),
        }
    }

    /// Returns the authorization endpoint, and the issuer that must answer.
    pub(crate) async fn authorization_endpoint(
        &self,
        http: &HttpClient,
        tenant: Option<&str>,
    ) -> Result<(Url, ExpectedIssuer), Error> {
        match &self.endpoint {
            EndpointSource::Routed(router) => router.authorization_endpoint(http, tenant).await,
            EndpointSource::Fixed(_) => {
                let error = "the application has a fixed token endpoint, so its authorization endpoint is unknown; nothing was sent";
                Err(Error::new(ErrorKind::Request, "authorization_endpoint_unknown", error)
                    .with_advice("create the application with an authority instead of a token endpoint"))
            }
        }
    }

    /// Returns the partition of a tenant in lower case.
    pub(crate) fn partition(&self, tenant: Option<&str>) -> Partition {
        CacheIdentity::in_tenant(&self.partition, tenant).partition()
    }

    /// Returns the tenant of a key in this client's partitions, empty without one; `None` for a
    /// key of another client.
    pub(crate) fn tenant_of<'k>(&self, key: &'k CacheKey<'_>) -> Option<&'k str> {
        self.partition.tenant_of(&key.partition)
    }
}

/// Returns a fixed endpoint, which belongs to one tenant.
fn fixed(endpoint: &TokenEndpoint, tenant: Option<&str>) -> Result<TokenEndpoint, Error> {
    if tenant.is_none() {
        return Ok(endpoint.clone());
    }
    let error = "the application has a fixed token endpoint and no other tenant; nothing was sent";
    Err(Error::new(ErrorKind::Request, "invalid_tenant", error)
        .with_advice("create the application with an authority instead of a token endpoint"))
}
