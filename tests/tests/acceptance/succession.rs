//! LIFE, CACHE: tokens of a certificate that was replaced.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::test_env::TestEnv;
use symbolon::{ClientIdentity, Error, ManagedIdentity, Thumbprint, Token, TokenOrigin};
use symbolon_emulator::{Fault, Step, TlsVersion};
use symbolon_tests::RESOURCE;
use symbolon_token::{
    ClientAuth, ClientCertificate, CredentialRejection, CredentialRequest, CredentialSource, TokenClient,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Certificates are valid for ten hours, and tokens outlive them.
async fn ten_hours() -> TestEnv {
    TestEnv::with(|emulator| {
        emulator.certificate_lifetime(10 * HOUR).token_not_after(None).token_lifetime(24 * HOUR)
    })
    .await
}

fn bound_to(token: &Token) -> Thumbprint {
    token.bound_to().map(ClientIdentity::thumbprint).unwrap()
}

fn current(identity: &ManagedIdentity) -> Option<Thumbprint> {
    identity.binding().map(|binding| binding.identity().thumbprint())
}

/// The ways in which a token service is of no use; true if it fails before it reads the request.
fn outages() -> [(&'static str, Fault, bool); 5] {
    [
        ("unavailable", Fault::status(Step::Token, 503), false),
        ("reset", Fault::reset(Step::Token), false),
        ("reset in the handshake", Fault::reset(Step::Handshake), true),
        ("expired secret", Fault::oauth_error("invalid_client", &[7_000_222]), false),
        ("unknown application", Fault::oauth_error("unauthorized_client", &[700_016]), false),
    ]
}

/// The number of exchanges so far, each with its retries.
fn exchanges(test_env: &TestEnv) -> usize {
    let journal = test_env.emulator.journal();
    let ids = journal.of(Step::Token).filter_map(|entry| entry.header("client-request-id"));
    ids.collect::<std::collections::HashSet<_>>().len()
}

/// Gives the exchanges in the background time to fail before the clock moves on.
async fn let_background_run() {
    symbolon::SharedClock::system().sleep(Duration::from_millis(20)).await;
}

/// Renews the binding while the token service fails; returns the token and the new certificate.
async fn renewed_during(test_env: &TestEnv, identity: &ManagedIdentity, fault: Fault) -> (Token, Thumbprint) {
    let token = test_env.bound_token(identity).await;
    let old = bound_to(&token);
    test_env.manual_clock.advance(5 * HOUR + 30 * MINUTE);
    test_env.emulator.inject(fault.always());
    assert_eq!(bound_to(&test_env.bound_token(identity).await), old);
    test_env.wait_until(|| current(identity).is_some_and(|current| current != old)).await;
    (token, current(identity).unwrap())
}

#[tokio::test]
async fn life_07_token_survives_its_binding() {
    for (outage, fault, is_before_request) in outages() {
        let test_env = ten_hours().await;
        let identity = test_env.identity();
        let (token, _) = renewed_during(&test_env, &identity, fault).await;
        let before = exchanges(&test_env);
        for _ in 0..60 {
            let callers = (0..10).map(|_| identity.token(RESOURCE).proof_of_possession().into_future());
            for served in futures_util::future::join_all(callers).await {
                let served = test_env.keep(served.unwrap_or_else(|error| panic!("{outage}: {error}")));
                assert_eq!(served.secret().expose(), token.secret().expose(), "{outage}");
                assert_eq!(served.origin(), TokenOrigin::Cache, "{outage}");
            }
            let_background_run().await;
            test_env.manual_clock.advance(MINUTE);
        }
        let failed = exchanges(&test_env) - before;
        // The pauses allow twelve exchanges; the loss of a connection is tried twice in each.
        let most = if outage == "reset" { 24 } else { 20 };
        assert!(
            failed <= most && (failed > 0 || is_before_request),
            "{outage}: {failed} exchanges in an hour"
        );

        test_env.emulator.clear_faults();
        assert_eq!(test_env.call(&identity, &token).await.status(), 200, "{outage}");
        test_env.manual_clock.advance(5 * MINUTE);
        let replaced = successor(&test_env, &token, async || test_env.bound_token(&identity).await).await;
        assert_eq!(Some(bound_to(&replaced)), current(&identity), "{outage}");
        assert_eq!(test_env.call(&identity, &replaced).await.status(), 200, "{outage}");
    }
}

/// Requests tokens until one is bound to another certificate than `token`.
async fn successor(test_env: &TestEnv, token: &Token, request: impl AsyncFn() -> Token) -> Token {
    let clock = symbolon::SharedClock::system();
    for _ in 0..500 {
        let next = request().await;
        if next.bound_to() != token.bound_to() {
            return next;
        }
        clock.sleep(Duration::from_millis(10)).await;
    }
    panic!("no successor in five seconds:\n{}", test_env.emulator.journal());
}

#[tokio::test]
async fn life_07_token_survives_its_token_not_after() {
    let test_env = TestEnv::with(|emulator| {
        emulator.certificate_lifetime(10 * HOUR).token_not_after(Some(4 * HOUR)).token_lifetime(24 * HOUR)
    })
    .await;
    let identity = test_env.identity();
    let token = test_env.bound_token(&identity).await;
    let certificate = token.bound_to().unwrap();
    test_env.emulator.inject(Fault::status(Step::PlatformMetadata, 503).always());
    let left = |until| test_env.clock().now() + 2 * MINUTE < until;
    while left(certificate.not_after()) {
        let served = test_env.bound_token(&identity).await;
        assert_eq!(served.secret().expose(), token.secret().expose());
        assert_eq!(test_env.call(&identity, &served).await.status(), 200);
        test_env.manual_clock.advance(MINUTE);
    }
    let mints = test_env.counts().metadata;
    assert!(mints <= 1 + 3 * 150, "{mints} requests to the metadata service in ten hours");
    assert_eq!(test_env.counts().tokens, 1);
    // The end of the certificate is the end of the token.
    test_env.manual_clock.set(certificate.not_after());
    let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), "managed_identity_request_failed");
    test_env.emulator.clear_faults();
    assert_ne!(bound_to(&test_env.bound_token(&identity).await), bound_to(&token));
}

#[tokio::test]
async fn life_08_refused_certificate_serves_no_token() {
    for version in [None, Some(TlsVersion::V1_2), Some(TlsVersion::V1_3)] {
        let test_env = TestEnv::with(|emulator| match version {
            Some(version) => emulator.tls_version(version),
            None => emulator,
        })
        .await;
        let identity = test_env.identity();
        let token = test_env.bound_token(&identity).await;
        // Another request learns that the certificate was refused, and there is no successor.
        match version {
            None => test_env.emulator.revoke(bound_to(&token)),
            Some(_) => test_env.emulator.reject_in_tls(bound_to(&token)),
        }
        test_env.emulator.reset_connections_of(bound_to(&token));
        test_env.emulator.inject(Fault::status(Step::IssueCredential, 403).times(3));
        for resource in ["https://other.example", RESOURCE, RESOURCE] {
            let error = identity.token(resource).proof_of_possession().await.unwrap_err();
            assert_eq!(error.code(), "managed_identity_request_failed", "{version:?} {resource}");
        }
        // Nor does it come back when the successor gets no token.
        test_env.emulator.inject(Fault::status(Step::Token, 503).always());
        for _ in 0..2 {
            let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
            assert_eq!(error.code(), "temporarily_unavailable", "{version:?}");
        }
        assert_eq!(test_env.emulator.issued().len(), 2, "{version:?}");
    }
}

#[tokio::test]
async fn life_08_resource_refuses_the_predecessor() {
    let test_env = ten_hours().await;
    let identity = test_env.identity();
    let (token, _) = renewed_during(&test_env, &identity, Fault::status(Step::Token, 503)).await;
    test_env.emulator.reject_in_tls(bound_to(&token));
    test_env.emulator.reset_connections_of(bound_to(&token));
    assert!(identity.call(&token, test_env.resource_request()).await.is_err());
    let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), "temporarily_unavailable", "the error of the successor");
}

#[tokio::test]
async fn life_08_invalidated_predecessor_is_gone() {
    let test_env = ten_hours().await;
    let identity = test_env.identity();
    let (token, _) = renewed_during(&test_env, &identity, Fault::status(Step::Token, 503)).await;
    let served = test_env.bound_token(&identity).await;
    assert_eq!(bound_to(&served), bound_to(&token));
    assert!(identity.invalidate(&served));
    let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), "temporarily_unavailable");
}

#[tokio::test]
async fn life_09_bypass_gets_no_predecessor() {
    let test_env = ten_hours().await;
    let identity = test_env.identity();
    let (_, new) = renewed_during(&test_env, &identity, Fault::status(Step::Token, 503)).await;
    let forced = identity.token(RESOURCE).proof_of_possession().force_refresh();
    assert_eq!(forced.await.unwrap_err().code(), "temporarily_unavailable");
    let challenged = identity.token(RESOURCE).proof_of_possession().claims(r#"{"access_token":{}}"#);
    assert_eq!(challenged.await.unwrap_err().code(), "temporarily_unavailable");
    test_env.emulator.clear_faults();
    let forced = identity.token(RESOURCE).proof_of_possession().force_refresh().await.unwrap();
    assert_eq!(bound_to(&test_env.keep(forced)), new);
    assert_eq!(bound_to(&test_env.bound_token(&identity).await), new);
}

/// A client certificate that is replaced while the client lives.
#[derive(Clone, Debug)]
struct Reloaded(Arc<Mutex<Arc<ClientCertificate>>>);

impl Reloaded {
    fn new(test_env: &TestEnv, identity: ClientIdentity) -> Self {
        let credential = ClientCertificate::new(test_env.application(), identity).unwrap();
        Self(Arc::new(Mutex::new(Arc::new(credential))))
    }

    fn replace(&self, test_env: &TestEnv, identity: ClientIdentity) {
        let credential = ClientCertificate::new(test_env.application(), identity).unwrap();
        *self.0.lock().unwrap() = Arc::new(credential);
    }

    fn current(&self) -> Arc<ClientCertificate> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CredentialSource for Reloaded {
    async fn authenticate(&self, request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        self.current().authenticate(request).await
    }

    async fn refused(&self, _used: &ClientAuth, _why: &CredentialRejection) -> bool {
        false
    }
}

#[tokio::test]
async fn cache_08_reloaded_certificate_keeps_the_token() {
    for (outage, fault, is_before_request) in outages() {
        let test_env = ten_hours().await;
        let credential = Reloaded::new(&test_env, test_env.certificate());
        let client = test_env.client_builder(credential.clone()).build();
        let request = async |client: &TokenClient| {
            let token = client.token_for_resource(RESOURCE).proof_of_possession().await;
            test_env.keep(token.unwrap_or_else(|error| panic!("{outage}: {error}")))
        };
        let token = request(&client).await;
        credential.replace(&test_env, test_env.certificate());
        test_env.emulator.inject(fault.always());
        for _ in 0..60 {
            let served = request(&client).await;
            assert_eq!(served.secret().expose(), token.secret().expose(), "{outage}");
            let_background_run().await;
            test_env.manual_clock.advance(MINUTE);
        }
        let failed = exchanges(&test_env) - 1;
        // The pauses allow twelve exchanges; the loss of a connection is tried twice in each.
        let most = if outage == "reset" { 24 } else { 20 };
        assert!(
            failed <= most && (failed > 0 || is_before_request),
            "{outage}: {failed} exchanges in an hour"
        );
        test_env.emulator.clear_faults();
        assert_eq!(client.call(&token, test_env.resource_request()).await.unwrap().status(), 200);
        test_env.manual_clock.advance(5 * MINUTE);
        let replaced = successor(&test_env, &token, async || request(&client).await).await;
        assert_eq!(client.call(&replaced, test_env.resource_request()).await.unwrap().status(), 200);
    }
}
