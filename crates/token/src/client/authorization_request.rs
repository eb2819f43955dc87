//! Authorization requests: the URL of the sign-in page.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use symbolon_types::{Error, ErrorKind};
use url::Url;

use super::parts::{ClientParts, Started};
use super::pending_authorization::PendingAuthorization;
use crate::credential::Application;
use crate::oauth::{merge_claims, user_scopes};

/// The URL to send a browser to, and the state to keep until the browser returns.
type Outcome = Result<(Url, PendingAuthorization), Error>;

/// Parameters that the request itself sets, or must not contain (RFC 6749 §4.1.1, RFC 7636 §4.3,
/// OIDC Core §3.1.2.1).
const RESERVED: [&str; 17] = [
    "claims",
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "domain_hint",
    "login_hint",
    "nonce",
    "prompt",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "token_type",
];

/// A request to sign a user in (RFC 6749 §4.1.1) under construction. `.await` it for the URL to
/// send the user's browser to, and for the state to keep until the browser returns.
///
/// The request always has a state, a nonce (OIDC Core §3.1.2.1) and an S256 challenge (RFC 7636),
/// all from the random source of the operating system.
///
/// ```no_run
/// # use symbolon_token::{Application, Prompt, TokenClient};
/// # use symbolon_types::Secret;
/// # struct Session { sign_in: Secret }
/// const REDIRECT_URI: &str = "https://app.example/signed-in";
///
/// # async fn begin(
/// #     client: &TokenClient, application: &Application, session: &mut Session,
/// # ) -> Result<url::Url, symbolon_token::Error> {
/// // Send the user's browser to the URL.
/// let request = client.authorization_request(application, REDIRECT_URI, "User.Read");
/// let (url, pending) = request.prompt(Prompt::SelectAccount).await?;
/// session.sign_in = pending.to_session();
/// # Ok(url) }
///
/// # async fn end(
/// #     client: &TokenClient, session: &Session, query: &str,
/// # ) -> Result<(), symbolon_token::Error> {
/// # use symbolon_token::PendingAuthorization;
/// // The browser returns to `REDIRECT_URI?query`.
/// let pending = PendingAuthorization::from_session(&session.sign_in)?;
/// let token = client.redeem_code(&pending.receive(query)?, "User.Read").await?;
/// let account = token.account().cloned();
/// # Ok(()) }
/// ```
///
/// # Errors
/// Before anything is sent: `invalid_redirect_uri`, `invalid_parameter`, `invalid_claims`,
/// `authorization_endpoint_unknown` for an application of a fixed token endpoint, and those of
/// [`Authority::with_tenant`](crate::authority::Authority::with_tenant). After that, those of
/// discovery, if the authority needs it.
#[derive(Clone)]
#[must_use = "a request does nothing until it is awaited"]
pub struct AuthorizationRequest<'a> {
    parts: &'a Arc<ClientParts>,
    application: &'a Application,
    redirect_uri: &'a str,
    scopes: &'a str,
    tenant: Option<&'a str>,
    response_mode: Option<ResponseMode>,
    prompt: Option<Prompt>,
    login_hint: Option<&'a str>,
    domain_hint: Option<&'a str>,
    claims: Option<&'a str>,
    parameters: Vec<(&'a str, &'a str)>,
}

/// Delivery of the authorization response (OAuth 2.0 Multiple Response Type Encoding Practices,
/// OAuth 2.0 Form Post Response Mode). The mode `fragment` is missing because a fragment never
/// reaches a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseMode {
    /// In the query of the redirect URI.
    Query,
    /// In the body of a form that the browser posts to the redirect URI. The browser sends the
    /// session cookie only if the cookie is `SameSite=None`.
    FormPost,
}

/// Prompts shown to the user (OIDC Core §3.1.2.1; `create`: Initiating User Registration 1.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Prompt {
    /// No prompt: if the user would have to act, the response is an error.
    None,
    /// Signing in, even if the user is already signed in.
    Login,
    /// Consent, even if the user has already consented.
    Consent,
    /// Selection of an account.
    SelectAccount,
    /// Registration of a new account.
    Create,
}

impl<'a> AuthorizationRequest<'a> {
    pub(crate) fn new(
        parts: &'a Arc<ClientParts>,
        application: &'a Application,
        redirect_uri: &'a str,
        scopes: &'a str,
    ) -> Self {
        Self {
            parts,
            application,
            redirect_uri,
            scopes,
            tenant: None,
            response_mode: None,
            prompt: None,
            login_hint: None,
            domain_hint: None,
            claims: None,
            parameters: Vec::new(),
        }
    }

    /// Signs the user in to this tenant instead of the application's own. Redeem the code with the
    /// [same tenant](crate::TokenRequest::tenant).
    pub fn tenant(mut self, tenant: &'a str) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Sets the delivery of the response. Default: that of the authority, which is the query.
    pub fn response_mode(mut self, mode: ResponseMode) -> Self {
        self.response_mode = Some(mode);
        self
    }

    /// Sets the prompt. Default: the prompts that the authority needs.
    pub fn prompt(mut self, prompt: Prompt) -> Self {
        self.prompt = Some(prompt);
        self
    }

    /// Fills in the name that the user signs in with, such as an email address.
    pub fn login_hint(mut self, name: &'a str) -> Self {
        self.login_hint = Some(name);
        self
    }

    /// Names the domain of the user, with which Entra skips the search for the user's directory.
    pub fn domain_hint(mut self, domain: &'a str) -> Self {
        self.domain_hint = Some(domain);
        self
    }

    /// Adds claims as JSON, such as those of a challenge. The capabilities of the client are merged
    /// into them. Pass the same claims to the [redemption](crate::TokenRequest::claims).
    pub fn claims(mut self, claims: &'a str) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Adds a parameter of your own, and replaces an earlier one of the same name.
    pub fn parameter(mut self, name: &'a str, value: &'a str) -> Self {
        self.parameters.retain(|(known, _)| *known != name);
        self.parameters.push((name, value));
        self
    }

    async fn prepare(self) -> Outcome {
        check_redirect_uri(self.redirect_uri)?;
        self.check_parameters()?;
        let claims = merge_claims(self.claims, None, &self.parts.capabilities)?;
        let parts = self.parts;
        let started = Started::now(parts.http.context().clock(), parts.deadline);
        let endpoint = self.application.authorization_endpoint(&parts.http, self.tenant);
        let (mut url, issuer) = parts.until(started, "the metadata of the authority", endpoint).await?;
        let pending = PendingAuthorization::new(self.redirect_uri, issuer)?;
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", self.application.client_id())
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", self.redirect_uri)
            .append_pair("scope", &user_scopes(self.scopes))
            .append_pair("state", pending.state().expose())
            .append_pair("nonce", pending.nonce().expose())
            .append_pair("code_challenge", &pending.challenge())
            .append_pair("code_challenge_method", "S256");
        for (name, value) in [
            ("response_mode", self.response_mode.map(ResponseMode::as_str)),
            ("prompt", self.prompt.map(Prompt::as_str)),
            ("login_hint", self.login_hint),
            ("domain_hint", self.domain_hint),
            ("claims", claims.as_deref()),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.extend_pairs(&self.parameters);
        drop(query);
        Ok((url, pending))
    }

    fn check_parameters(&self) -> Result<(), Error> {
        for (name, _) in &self.parameters {
            if name.is_empty() || RESERVED.contains(name) {
                let error = format!("the request sets the parameter {name:?} itself; nothing was sent");
                return Err(Error::new(ErrorKind::Request, "invalid_parameter", error)
                    .with_advice("remove it, or use the method of the request that sets it"));
            }
        }
        Ok(())
    }
}

/// Validates a redirect URI. It is sent unchanged, because the authority compares it character by
/// character (RFC 6749 §3.1.2, RFC 9700 §4.1.3).
fn check_redirect_uri(text: &str) -> Result<(), Error> {
    match text.parse::<Url>() {
        Ok(url) if url.fragment().is_none() => Ok(()),
        _ => {
            let error = "the redirect URI is not an absolute URI, or has a fragment; nothing was sent";
            Err(Error::new(ErrorKind::Request, "invalid_redirect_uri", error).with_advice(
                "use it exactly as it was registered, for example https://app.example/signed-in",
            ))
        }
    }
}

impl ResponseMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::FormPost => "form_post",
        }
    }
}

impl Prompt {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Login => "login",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
            Self::Create => "create",
        }
    }
}

impl<'a> IntoFuture for AuthorizationRequest<'a> {
    type Output = Outcome;
    type IntoFuture = AuthorizationFuture<'a>;

    fn into_future(self) -> AuthorizationFuture<'a> {
        AuthorizationFuture(Box::pin(self.prepare()))
    }
}

/// The future of an [`AuthorizationRequest`].
pub struct AuthorizationFuture<'a>(Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>);

impl Future for AuthorizationFuture<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

symbolon_types::debug_fields!(AuthorizationFuture<'_>);

// Hides the hints about the user.
symbolon_types::debug_fields!(AuthorizationRequest<'_>: scopes, response_mode, prompt);
