//! The registered clients, one for each authentication method, and unregistered certificates.

use serde_json::{Value, json};

use crate::certificate::{Authority, Certified, KeyKind};

/// The registered clients, and unregistered certificates.
pub(crate) struct Clients {
    /// `client_secret_post`.
    pub(crate) secret: SecretClient,
    /// `client_secret_post`; tokens are bound to the certificate on TLS (RFC 8705 §4).
    pub(crate) bound_secret: SecretClient,
    /// `client_secret_post`; signs users in with [`REDIRECT_URI`].
    pub(crate) web: SecretClient,
    /// `tls_client_auth` by a name in the certificate; RSA.
    pub(crate) tls: CertifiedClient,
    /// `self_signed_tls_client_auth`; P-256.
    pub(crate) self_signed: CertifiedClient,
    /// `private_key_jwt` with `RS256`.
    pub rs256: CertifiedClient,
    /// `private_key_jwt` with `PS256`.
    pub ps256: CertifiedClient,
    /// `private_key_jwt` with `ES256`.
    pub es256: CertifiedClient,
    /// A certificate by the authority of the server, for a name that no client has.
    pub(crate) stranger: Certified,
    /// A self-signed certificate with the name of [`tls`](Self::tls).
    pub(crate) impostor: Certified,
}

/// A client with a secret.
#[derive(Clone)]
pub(crate) struct SecretClient {
    /// The client identifier.
    pub(crate) id: &'static str,
    /// The client secret, with characters that a form must escape.
    pub(crate) secret: &'static str,
}

/// A client with a certificate, on TLS or under its assertions.
#[derive(Clone)]
pub(crate) struct CertifiedClient {
    /// The client identifier.
    pub(crate) id: &'static str,
    /// The certificate and its key.
    pub(crate) certified: Certified,
}

/// The redirect URI of the sign-in; nothing listens there.
pub(crate) const REDIRECT_URI: &str = "https://app.example/signed-in";

/// The registered certificate name of [`Clients::tls`].
const TLS_NAME: &str = "tls.client.example";

impl Clients {
    pub(super) fn certified_by(authority: &Authority) -> Self {
        let certified = |id, certified| CertifiedClient { id, certified };
        let rsa = authority.self_signed("rsa.client.example", KeyKind::Rsa2048);
        let p256 = authority.self_signed("p256.client.example", KeyKind::P256);
        let self_signed = authority.self_signed("self-signed.client.example", KeyKind::P256);
        Self {
            secret: SecretClient { id: "client-secret", secret: "a~secret+of/40%&characters=at?least;long" },
            bound_secret: SecretClient {
                id: "client-secret-bound",
                secret: "another secret, as long as it gets",
            },
            web: SecretClient { id: "client-web", secret: "a secret of an app that signs users in" },
            tls: certified("client-tls", authority.issue(TLS_NAME, KeyKind::Rsa2048)),
            self_signed: certified("client-self-signed", self_signed),
            rs256: certified("client-rs256", rsa.clone()),
            ps256: certified("client-ps256", rsa),
            es256: certified("client-es256", p256),
            stranger: authority.issue("stranger.example", KeyKind::P256),
            impostor: authority.self_signed(TLS_NAME, KeyKind::P256),
        }
    }

    /// The input of `server.mjs`: the metadata of RFC 7591 §2 and RFC 8705 §2, with a certificate
    /// in place of `jwks`.
    pub(super) fn registrations(&self) -> Value {
        let secret = |client: &SecretClient, is_bound: bool| {
            json!({
                "client_id": client.id,
                "client_secret": client.secret,
                "token_endpoint_auth_method": "client_secret_post",
                "tls_client_certificate_bound_access_tokens": is_bound,
            })
        };
        let assertion = |client: &CertifiedClient, algorithm: &str| {
            json!({
                "client_id": client.id,
                "certificate": client.certified.certificate_pem,
                "token_endpoint_auth_method": "private_key_jwt",
                "token_endpoint_auth_signing_alg": algorithm,
            })
        };
        json!([
            secret(&self.secret, false),
            secret(&self.bound_secret, true),
            {
                "client_id": self.web.id,
                "client_secret": self.web.secret,
                "token_endpoint_auth_method": "client_secret_post",
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
                "redirect_uris": [REDIRECT_URI],
            },
            {
                "client_id": self.tls.id,
                "token_endpoint_auth_method": "tls_client_auth",
                "tls_client_auth_san_dns": TLS_NAME,
                "tls_client_certificate_bound_access_tokens": true,
            },
            {
                "client_id": self.self_signed.id,
                "certificate": self.self_signed.certified.certificate_pem,
                "token_endpoint_auth_method": "self_signed_tls_client_auth",
                "tls_client_certificate_bound_access_tokens": true,
            },
            assertion(&self.rs256, "RS256"),
            assertion(&self.ps256, "PS256"),
            assertion(&self.es256, "ES256"),
        ])
    }
}
