//! Which client, and at which authority.

use std::borrow::Cow;
use std::sync::Arc;

use symbolon_transport::HttpClient;
use symbolon_types::{Error, ErrorKind};
use url::Url;

use super::auth::ClientAuth;
use super::auth_future::AuthFuture;
use super::memo::AuthMemo;
use super::source::CredentialRequest;
use crate::authority::{
    Authority, AuthorityKind, EndpointQuery, ExpectedIssuer, LocatedEndpoint, RegionChoice, RegionOutcome,
    Router, Tenant,
};
use crate::oauth::TokenEndpoint;
use crate::token::Partition;

/// A client that is registered at an authority (RFC 6749 §2.2), so far without a credential.
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
pub struct Application {
    client_id: Arc<str>,
    place: Place,
}

/// Where the client asks for tokens.
#[derive(Clone, Debug)]
enum Place {
    Routed(Router),
    Fixed(TokenEndpoint),
}

impl Application {
    /// A client of this authority. Its token endpoint follows from the authority, and for a host
    /// that is not known, from instance discovery.
    ///
    /// # Errors
    /// `invalid_client_credential` if the client id is empty.
    pub fn new(authority: Authority, client_id: &str) -> Result<Self, Error> {
        Self::in_place(Place::Routed(Router::new(authority)), client_id)
    }

    /// A client that asks one token endpoint, whatever is asked for.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn at(token_endpoint: TokenEndpoint, client_id: &str) -> Result<Self, Error> {
        Self::in_place(Place::Fixed(token_endpoint), client_id)
    }

    fn in_place(place: Place, client_id: &str) -> Result<Self, Error> {
        if client_id.trim().is_empty() {
            let error = Error::new(ErrorKind::Request, "invalid_client_credential", "the client id is empty");
            return Err(error.with_advice("set it as it was registered"));
        }
        Ok(Self { client_id: client_id.into(), place })
    }

    /// Asks in this region of Entra. Default: none, unless the environment forces one.
    ///
    /// Tokens about a user are asked for there only with a certificate, and else at the cloud's global
    /// host (as with MSAL).
    #[must_use]
    pub fn region(self, region: RegionChoice) -> Self {
        self.routed(|router| router.with_region(region))
    }

    /// Validates an unknown host of Entra before anything is sent to it. Default: yes.
    #[must_use]
    pub fn instance_discovery(self, validates: bool) -> Self {
        self.routed(|router| router.with_instance_discovery(validates))
    }

    fn routed(mut self, change: impl FnOnce(Router) -> Router) -> Self {
        if let Place::Routed(router) = self.place {
            self.place = Place::Routed(change(router));
        }
        self
    }

    /// The client identifier.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// What kind of authority it is at; none for a client of a fixed endpoint.
    pub(crate) fn authority_kind(&self) -> Option<AuthorityKind> {
        match &self.place {
            Place::Routed(router) => Some(router.authority().kind()),
            Place::Fixed(_) => None,
        }
    }

    /// What this client presents where tokens are asked for, with or without a certificate;
    /// `dress` adds the credential.
    pub(crate) fn present<'a>(
        &'a self,
        request: &'a CredentialRequest<'a>,
        mtls: bool,
        memo: &'a AuthMemo,
        dress: impl FnOnce(ClientAuth) -> Result<ClientAuth, Error> + Send + 'a,
    ) -> AuthFuture<'a> {
        if let Some(lent) = memo.lend(request) {
            return lent;
        }
        let tenant = request.tenant();
        let known = match &self.place {
            Place::Fixed(_) if tenant.is_some() => Some(Err(no_tenants())),
            Place::Fixed(endpoint) => Some(Ok(endpoint.clone().into())),
            Place::Routed(router) => router.located_now(&query(request, mtls)),
        };
        let present = move |located| {
            let auth = dress(self.undressed(located, tenant))?;
            memo.keep(request, &auth);
            Ok(auth)
        };
        match known {
            Some(located) => AuthFuture::ready(located.and_then(present)),
            None => AuthFuture::future(async move { present(self.located(request, mtls).await?) }),
        }
    }

    /// Where tokens are asked for.
    pub(crate) async fn located(
        &self,
        request: &CredentialRequest<'_>,
        mtls: bool,
    ) -> Result<LocatedEndpoint, Error> {
        match &self.place {
            Place::Fixed(_) if request.tenant().is_some() => Err(no_tenants()),
            Place::Fixed(endpoint) => Ok(endpoint.clone().into()),
            Place::Routed(router) => {
                router.located(request.http(), request.http().context().env(), &query(request, mtls)).await
            }
        }
    }

    /// Where users sign in to this client, and who is expected to answer.
    pub(crate) async fn authorization_endpoint(
        &self,
        http: &HttpClient,
        tenant: Option<&str>,
    ) -> Result<(Url, ExpectedIssuer), Error> {
        match &self.place {
            Place::Routed(router) => router.authorization_endpoint(http, tenant).await,
            Place::Fixed(_) => {
                let error = "a token endpoint does not say where users sign in; nothing was sent";
                Err(Error::new(ErrorKind::Request, "authorization_endpoint_unknown", error)
                    .with_advice("make the application of an authority instead of a token endpoint"))
            }
        }
    }

    /// The client at an endpoint, without its credential. Its tokens are kept under the authority,
    /// not under the endpoint: a token is the same whichever region issued it.
    pub(crate) fn undressed(&self, located: LocatedEndpoint, tenant: Option<&str>) -> ClientAuth {
        let tenant = tenant.map(str::to_ascii_lowercase).or_else(|| self.own_tenant().map(str::to_owned));
        let partition = self.partition(tenant.as_deref());
        let LocatedEndpoint { endpoint, region } = located;
        let auth = ClientAuth::new(Arc::clone(&self.client_id), endpoint, partition);
        let auth = match region {
            RegionOutcome::None => auth,
            region => auth.in_region(region),
        };
        match tenant {
            Some(tenant) => auth.with_tenant_id(tenant),
            None => auth,
        }
    }

    /// Under what the tokens of a tenant, in lower case, are kept.
    pub(crate) fn partition(&self, tenant: Option<&str>) -> Partition {
        let place = self.issuer();
        Partition::new(format!("app\0{place}\0{}\0{}", tenant.unwrap_or_default(), self.client_id))
    }

    /// The tenant whose tokens a partition holds, empty where there is none; `None` if the partition
    /// is not this client's.
    pub(crate) fn tenant_of<'p>(&self, partition: &'p Partition) -> Option<&'p str> {
        let rest = partition.as_str().strip_prefix("app\0")?.strip_prefix(&*self.issuer())?;
        let tenant = rest.strip_prefix('\0')?.strip_suffix(&*self.client_id)?.strip_suffix('\0')?;
        (!tenant.contains('\0')).then_some(tenant)
    }

    /// Returns the authority, or `None` for a client of a fixed token endpoint.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        match &self.place {
            Place::Routed(router) => Some(router.authority()),
            Place::Fixed(_) => None,
        }
    }

    fn issuer(&self) -> Cow<'_, str> {
        match &self.place {
            Place::Routed(router) => issuer_of(router.authority()),
            Place::Fixed(endpoint) => Cow::Borrowed(endpoint.url().as_str()),
        }
    }

    fn own_tenant(&self) -> Option<&str> {
        match &self.place {
            Place::Routed(router) => router.authority().tenant().map(Tenant::as_str),
            Place::Fixed(_) => None,
        }
    }
}

/// Whose tokens they are: for Entra the cloud, whichever of its names is used; for others the
/// authority.
fn issuer_of(authority: &Authority) -> Cow<'_, str> {
    match authority.kind() {
        AuthorityKind::Entra => authority.cache_environment(),
        _ => Cow::Borrowed(authority.as_str()),
    }
}

fn query<'a>(request: &CredentialRequest<'a>, mtls: bool) -> EndpointQuery<'a> {
    EndpointQuery { tenant: request.tenant(), mtls, for_user: request.for_user() }
}

fn no_tenants() -> Error {
    let error = "a client of a fixed token endpoint has no other tenant; nothing was sent";
    Error::new(ErrorKind::Request, "invalid_tenant", error)
        .with_advice("make the application of an authority instead of a token endpoint")
}
