//! Tokens that are bound to a certificate.

use std::time::Duration;

use symbolon_token::{
    ClientAuth, CredentialRejection, CredentialRequest, CredentialSource, Error, ErrorKind, Partition,
    TokenClient, TokenEndpoint, TokenOrigin,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::transport_fn;
use symbolon_types::{ClientIdentity, Context, Jitter, ManualClock};

use crate::env::{ENDPOINT, identity, issued, issued_as, value};

/// A credential whose client authentication a closure returns.
struct CredentialFn<F>(F);

impl<F> std::fmt::Debug for CredentialFn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialFn")
    }
}

impl<F: Fn(bool, ClientAuth) -> ClientAuth + Send + Sync + 'static> CredentialSource for CredentialFn<F> {
    async fn authenticate(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let endpoint = TokenEndpoint::parse(ENDPOINT).unwrap();
        let auth = ClientAuth::new("client", endpoint, Partition::new("client"));
        Ok((self.0)(request.proof_of_possession(), auth))
    }

    async fn refused(&self, _used: &ClientAuth, _why: &CredentialRejection) -> bool {
        false
    }
}

#[tokio::test]
async fn bound_request_gets_no_bearer_token() {
    let transport = ScriptedTransport::new([issued("bearer"), issued_as("mtls_pop", "bound")]);
    let identity = identity();
    let presented = identity.clone();
    let credential = CredentialFn(move |is_bound, auth: ClientAuth| match is_bound {
        true => auth.with_proof_of_possession(presented.clone()),
        false => auth.with_identity(presented.clone()),
    });
    let client = TokenClient::builder(credential, transport.clone()).build();
    for (is_bound, secret, source) in [
        (false, "bearer", TokenOrigin::Network),
        (true, "bound", TokenOrigin::Network),
        (false, "bearer", TokenOrigin::Cache),
        (true, "bound", TokenOrigin::Cache),
    ] {
        let request = client.token("a");
        let request = if is_bound { request.proof_of_possession() } else { request };
        let token = request.await.unwrap();
        assert_eq!((token.secret().expose(), token.origin()), (secret, source));
        assert_eq!(token.bound_to(), is_bound.then_some(&identity));
    }
    let asked: Vec<_> = transport.requests().iter().map(|request| value(request, "token_type")).collect();
    assert_eq!(asked, [None, Some("mtls_pop".to_owned())]);
}

#[tokio::test]
async fn bound_token_is_cached_by_certificate() {
    let transport = ScriptedTransport::new([issued_as("mtls_pop", "one"), issued_as("mtls_pop", "two")]);
    let client = |identity: &ClientIdentity| {
        let identity = identity.clone();
        let credential =
            CredentialFn(move |_, auth: ClientAuth| auth.with_proof_of_possession(identity.clone()));
        TokenClient::builder(credential, transport.clone())
    };
    let [first, second] = [identity(), identity()];
    let of_first = client(&first).build();
    let of_second = client(&second).cache(of_first.cache().clone()).build();
    for source in [TokenOrigin::Network, TokenOrigin::Cache] {
        for (client, identity, secret) in [(&of_first, &first, "one"), (&of_second, &second, "two")] {
            let token = client.token("a").proof_of_possession().await.unwrap();
            assert_eq!((token.secret().expose(), token.origin()), (secret, source));
            assert_eq!(token.bound_to(), Some(identity));
        }
    }
}

#[tokio::test]
async fn credential_without_binding_is_refused() {
    let transport = ScriptedTransport::new([issued("bearer"), issued_as("mtls_pop", "never")]);
    let client = TokenClient::builder(CredentialFn(|_, auth| auth), transport.clone()).build();
    client.token("a").await.unwrap();
    let error = client.token("a").proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("mtls_certificate_not_provided", ErrorKind::Request));
    assert_eq!(transport.requests().len(), 1);
}

#[tokio::test]
async fn unusable_certificate_is_refused() {
    let identity = identity();
    let ends = identity.not_after();
    let credential = || {
        let identity = identity.clone();
        CredentialFn(move |_, auth: ClientAuth| auth.with_identity(identity.clone()))
    };
    let incapable = TokenClient::builder(credential(), transport_fn(|_| async { issued("never") })).build();
    assert_eq!(incapable.token("a").await.unwrap_err().code(), "mtls_not_supported_by_transport");

    let manual_clock = ManualClock::at(ends);
    let transport = ScriptedTransport::new([issued("one")]);
    let client = TokenClient::builder(credential(), transport.clone())
        .context(Context::default().with_clock(&manual_clock))
        .build();
    let error = client.token("a").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("invalid_certificate", ErrorKind::Credential));
    assert!(transport.requests().is_empty());
    manual_clock.set(ends - Duration::from_secs(1));
    assert_eq!(client.token("a").await.unwrap().secret().expose(), "one");
}

#[tokio::test]
async fn bound_token_ends_before_its_certificate() {
    let identity = identity();
    let ends = identity.not_after();
    let manual_clock = ManualClock::at(ends - Duration::from_secs(30 * 60));
    let transport = ScriptedTransport::new([issued_as("mtls_pop", "one"), issued_as("mtls_pop", "two")]);
    let credential = CredentialFn(move |_, auth: ClientAuth| auth.with_proof_of_possession(identity.clone()));
    let client = TokenClient::builder(credential, transport)
        .context(Context::default().with_clock(&manual_clock).with_jitter(Jitter::fixed(0.0)))
        .build();
    let token = client.token("a").proof_of_possession().await.unwrap();
    assert!(token.expires_on() > ends && token.refresh_on() < ends);
    manual_clock.set(ends - Duration::from_secs(10));
    let token = client.token("a").proof_of_possession().await.unwrap();
    assert_eq!((token.secret().expose(), token.origin()), ("two", TokenOrigin::Network));
}
