//! A managed identity as the credential of an application (workload identity federation).

use symbolon_token::{AssertionRequest, AssertionSource, Error, SignedAssertion};

use crate::identity::ManagedIdentity;

/// The audience of tokens that are client assertions, in the public cloud.
/// (docs/protocol/token-request.md#client-assertion)
const TOKEN_EXCHANGE: &str = "api://AzureADTokenExchange";

/// The tokens of a managed identity, as client assertions of an application that trusts it.
///
/// The first request gets a token of the managed identity for the exchange audience; the second
/// sends it as the client assertion of the application. A request for a bound token also binds the
/// assertion, and both requests present the same certificate.
///
/// ```no_run
/// use symbolon::parts::token::authority::Authority;
/// use symbolon::parts::token::{Application, ClientAssertion, TokenClient};
/// use symbolon::{HyperTransport, ManagedIdentity};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = ManagedIdentity::builder().build()?;
/// let authority = Authority::parse("https://login.microsoftonline.com/fabrikam.example")?;
/// let application = Application::new(authority, "6731de76-14a6-49ae-97bc-6eba6914391e")?;
/// let credential = ClientAssertion::new(application, identity.assertions());
/// let client = TokenClient::builder(credential, HyperTransport::builder().build()?).build();
/// let token = client.token_for_resource("https://vault.azure.net").proof_of_possession().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ManagedIdentityAssertions {
    identity: ManagedIdentity,
    audience: String,
    always_bound: bool,
}

impl ManagedIdentity {
    /// Returns the tokens of this identity as client assertions of an application that trusts it.
    pub fn assertions(&self) -> ManagedIdentityAssertions {
        ManagedIdentityAssertions {
            identity: self.clone(),
            audience: TOKEN_EXCHANGE.to_owned(),
            always_bound: false,
        }
    }
}

impl ManagedIdentityAssertions {
    /// Sets the audience of a sovereign cloud: `api://AzureADTokenExchangeUSGov` or
    /// `api://AzureADTokenExchangeChina`.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// Also binds the assertion if the application's own token is a bearer token.
    pub fn always_bound(mut self) -> Self {
        self.always_bound = true;
        self
    }
}

impl AssertionSource for ManagedIdentityAssertions {
    async fn assertion(&self, request: &AssertionRequest<'_>) -> Result<SignedAssertion, Error> {
        let token = self.identity.token(&self.audience).correlation_id(request.correlation_id());
        let token = if self.always_bound || request.proof_of_possession() {
            token.proof_of_possession().await?
        } else {
            token.await?
        };
        let assertion = SignedAssertion::new(token.secret().clone());
        Ok(match token.bound_to() {
            Some(identity) => assertion.bound_to(identity.clone()),
            None => assertion,
        })
    }
}
