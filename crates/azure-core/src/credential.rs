//! Bearer tokens for clients of the SDK.

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::time::OffsetDateTime;
use symbolon_client::{Error, ErrorKind, ProviderRequest, TokenProvider};

use crate::failure::token_failed;

/// A credential for clients of the Azure SDK, with the bearer tokens of a managed identity, a
/// chain, a confidential client or a user.
///
/// It never requests bound tokens; for these, use
/// [`BoundAuthentication`](crate::BoundAuthentication).
///
/// ```
/// # fn example(identity: symbolon::ManagedIdentity) {
/// use std::sync::Arc;
/// use azure_core::credentials::TokenCredential;
/// use symbolon_azure_core::BearerCredential;
///
/// let credential: Arc<dyn TokenCredential> = Arc::new(BearerCredential::new(identity));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BearerCredential<P>(P);

impl<P: TokenProvider> BearerCredential<P> {
    /// Creates a credential with the tokens of a provider.
    #[must_use]
    pub fn new(provider: P) -> Self {
        Self(provider)
    }
}

#[async_trait::async_trait]
impl<P: TokenProvider> TokenCredential for BearerCredential<P> {
    /// Returns a bearer token. Several scopes are requested together, which only the tokens of a
    /// user support.
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let scopes = scopes.join(" ");
        let token = self.0.token(&ProviderRequest::bearer(&scopes)).await.map_err(token_failed)?;
        if token.bound_to().is_some() {
            let error =
                "the token is bound to a certificate, which a client of the Azure SDK does not present";
            return Err(token_failed(
                Error::new(ErrorKind::Request, "bound_token_refused", error)
                    .with_advice("use BoundAuthentication of symbolon-azure-core for bound tokens"),
            ));
        }
        let expires_on = OffsetDateTime::from(token.expires_on());
        Ok(AccessToken::new(token.secret().expose().to_owned(), expires_on))
    }
}
