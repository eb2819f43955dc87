//! The cases that need TLS.

use http::Method;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use symbolon_types::{ClientIdentity, PrivateTrust};

use super::tls_server::{
    ClientAuth, Handling, OTHER_NAME, ServerCertificate, SuiteAuthority, SuiteResult, TlsServer, Version,
};
use super::{Case, ConformanceReport, expect, expect_kind, pinned_cases, served};
use crate::{Request, Response, Route, SharedTransport, Transport, TransportError, TransportErrorKind};

const VERSIONS: [Version; 2] = [&TLS12, &TLS13];

/// Runs the cases that need TLS, against servers on loopback that this module starts (feature
/// `conformance-tls`). `make` builds the transport, which trusts this root certificate.
///
/// Those about client certificates, [pinned servers](crate::Capabilities::pinned_servers) and
/// [private trust](crate::Capabilities::private_trust) run if the transport declares them. All
/// cases run with TLS 1.2 and 1.3.
///
/// ```no_run
/// # use symbolon_transport::{Transport, conformance};
/// # async fn example<T: Transport>(trusting: impl Fn(&[u8]) -> T) {
/// let report = conformance::check_tls(|root| trusting(&root)).await;
/// assert!(report.holds(), "{report}");
/// # }
/// ```
pub async fn check_tls<T: Transport>(make: impl FnOnce(CertificateDer<'static>) -> T) -> ConformanceReport {
    match cases(make).await {
        Ok(cases) => ConformanceReport(cases),
        Err(error) => ConformanceReport(vec![("the servers of the suite start", Err(error.to_string()))]),
    }
}

async fn cases<T: Transport>(
    make: impl FnOnce(CertificateDer<'static>) -> T,
) -> SuiteResult<Vec<(&'static str, Case)>> {
    let authority = SuiteAuthority::new()?;
    let suite = TlsSuite { transport: SharedTransport::new(make(authority.certificate())), authority };
    let mut cases = vec![
        ("a trusted server is accepted", suite.each(trusted_server).await),
        ("a server for another name is refused", suite.each(other_name).await),
        ("a server of another issuer is refused", suite.each(other_issuer).await),
        ("a lost POST is not sent again over TLS", suite.each(lost_post).await),
        ("a truncated response is an error", suite.each(truncated).await),
    ];
    let capabilities = suite.transport.capabilities();
    if capabilities.client_certificates() {
        cases.extend([
            ("the certificate of a request is presented", suite.each(presented).await),
            ("a refused certificate is a rejection", suite.each(refused).await),
            ("a server that requests no certificate gets no request", suite.each(not_requested).await),
            ("a key that fails is an unusable identity", suite.each(failing_key).await),
            ("identities share no connection", suite.each(separate).await),
            ("two lost new connections are a rejection", suite.each(lost_twice).await),
            ("a bound POST that is lost is not sent again", suite.each(lost_bound_post).await),
        ]);
    }
    if capabilities.private_trust() {
        cases.push(("a private root replaces the others", suite.each(private_roots).await));
        cases.push(("a private name replaces the host", suite.each(private_name).await));
    }
    if capabilities.pinned_servers() {
        let foreign = SuiteAuthority::new()?;
        cases.push(("a pinned certificate needs its key", suite.each(pin_without_key).await));
        for version in VERSIONS {
            let server =
                TlsServer::start(version, &ServerCertificate::OtherName(&foreign), ClientAuth::Never)?;
            cases.extend(pinned_cases(&suite.transport, &server.url()?, server.pin()).await);
        }
    }
    Ok(cases)
}

struct TlsSuite {
    transport: SharedTransport,
    authority: SuiteAuthority,
}

impl TlsSuite {
    /// Runs a case with each version of TLS.
    async fn each(&self, case: impl AsyncFn(&Self, Version) -> SuiteResult<Case>) -> Case {
        for version in VERSIONS {
            let outcome = case(self, version).await.unwrap_or_else(|error| Err(error.to_string()));
            outcome.map_err(|wrong| format!("{:?}: {wrong}", version.version))?;
        }
        Ok(())
    }

    /// Starts a trusted server.
    fn server(&self, version: Version, client_auth: ClientAuth) -> SuiteResult<TlsServer> {
        TlsServer::start(version, &ServerCertificate::Trusted(&self.authority), client_auth)
    }

    async fn send(
        &self,
        server: &TlsServer,
        method: Method,
        identity: Option<&ClientIdentity>,
    ) -> SuiteResult<Result<Response, TransportError>> {
        let request = Request::new(method, server.url()?, Route::Local).with_identity(identity.cloned());
        Ok(self.transport.send(request).await)
    }

    async fn get(
        &self,
        server: &TlsServer,
        identity: Option<&ClientIdentity>,
    ) -> SuiteResult<Result<Response, TransportError>> {
        self.send(server, Method::GET, identity).await
    }
}

async fn trusted_server(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let server = suite.server(version, ClientAuth::Requested)?;
    Ok(served(suite.get(&server, None).await?))
}

async fn other_name(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    refused_server(suite, &ServerCertificate::OtherName(&suite.authority), version).await
}

async fn other_issuer(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let foreign = SuiteAuthority::new()?;
    refused_server(suite, &ServerCertificate::Trusted(&foreign), version).await
}

async fn refused_server(
    suite: &TlsSuite,
    certificate: &ServerCertificate<'_>,
    version: Version,
) -> SuiteResult<Case> {
    let server = TlsServer::start(version, certificate, ClientAuth::Never)?;
    let refused = expect_kind(suite.get(&server, None).await?, TransportErrorKind::Tls);
    Ok(refused.and(expect(server.requests().is_empty(), "the request was sent")))
}

/// The order matters: a refused request must not be served from a kept connection.
async fn private_roots(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let foreign = SuiteAuthority::new()?;
    let server = TlsServer::start(version, &ServerCertificate::Trusted(&foreign), ClientAuth::Never)?;
    let usual = suite.server(version, ClientAuth::Never)?;
    let trust = PrivateTrust::new().with_roots_pem(foreign.pem().as_bytes())?;
    let send = async |server: &TlsServer, trust| {
        let request = Request::new(Method::GET, server.url()?, Route::Local).with_private_trust(trust);
        SuiteResult::Ok(suite.transport.send(request).await)
    };
    let other = PrivateTrust::new().with_roots_pem(SuiteAuthority::new()?.pem().as_bytes())?;
    served(send(&server, Some(trust.clone())).await?)?;
    expect_kind(send(&server, Some(other)).await?, TransportErrorKind::Tls)?;
    expect_kind(send(&server, None).await?, TransportErrorKind::Tls)?;
    served(send(&usual, None).await?)?;
    expect_kind(send(&usual, Some(trust.clone())).await?, TransportErrorKind::Tls)?;
    served(send(&server, Some(trust)).await?)?;
    Ok(expect(server.requests().len() == 2, "a refused request was sent")
        .and(expect(usual.requests().len() == 1, "a refused request was sent")))
}

async fn private_name(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let server =
        TlsServer::start(version, &ServerCertificate::OtherName(&suite.authority), ClientAuth::Never)?;
    let send = async |name: Option<&'static str>| {
        let trust =
            name.map(|name| ServerName::try_from(name).map(|name| PrivateTrust::new().with_name(name)));
        let request =
            Request::new(Method::GET, server.url()?, Route::Local).with_private_trust(trust.transpose()?);
        SuiteResult::Ok(suite.transport.send(request).await)
    };
    served(send(Some(OTHER_NAME)).await?)?;
    expect_kind(send(Some("third.example")).await?, TransportErrorKind::Tls)?;
    expect_kind(send(None).await?, TransportErrorKind::Tls)?;
    served(send(Some(OTHER_NAME)).await?)?;
    let names = server.names();
    Ok(expect(server.requests().len() == 2, "a refused request was sent").and(expect(
        names.first().is_some_and(|name| name.as_deref() == Some(OTHER_NAME)),
        "the handshake does not name the server (SNI)",
    )))
}

async fn pin_without_key(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let foreign = SuiteAuthority::new()?;
    let server = TlsServer::start(version, &ServerCertificate::WithoutKey(&foreign), ClientAuth::Never)?;
    let request =
        Request::new(Method::GET, server.url()?, Route::Local).with_pinned_server(Some(server.pin()));
    let refused = expect_kind(suite.transport.send(request).await, TransportErrorKind::Tls);
    Ok(refused.and(expect(server.requests().is_empty(), "the request was sent")))
}

async fn presented(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let server = suite.server(version, ClientAuth::Requested)?;
    let identity = suite.authority.identity()?;
    let sent = served(suite.get(&server, Some(&identity)).await?);
    let is_presented =
        server.requests().iter().all(|request| request.certificate == Some(identity.thumbprint()));
    Ok(sent.and(expect(is_presented, "the certificate was not presented")))
}

/// In both states of the connection: none yet, and one on which the certificate was accepted.
async fn refused(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    for was_accepted in [false, true] {
        let server = suite.server(version, ClientAuth::RequestedEachTime)?;
        let identity = suite.authority.identity()?;
        if was_accepted && let Err(wrong) = served(suite.get(&server, Some(&identity)).await?) {
            return Ok(Err(wrong));
        }
        server.refuse(identity.thumbprint());
        server.close_all();
        let before = server.requests().len();
        // The refusal may arrive before, while or after the request is written.
        for method in [Method::GET, Method::POST, Method::GET] {
            let sent = suite.send(&server, method, Some(&identity)).await?;
            if let Err(wrong) = expect_kind(sent, TransportErrorKind::IdentityRejected) {
                return Ok(Err(wrong));
            }
        }
        if server.requests().len() != before {
            return Ok(Err("the server received a request".to_owned()));
        }
    }
    Ok(Ok(()))
}

async fn not_requested(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let server = suite.server(version, ClientAuth::Never)?;
    let identity = suite.authority.identity()?;
    // Repeated: neither a connection nor a session of the first may bypass the check.
    for _ in 0..3 {
        let sent = suite.get(&server, Some(&identity)).await?;
        if let Err(wrong) = expect_kind(sent, TransportErrorKind::IdentityNotRequested) {
            return Ok(Err(wrong));
        }
    }
    Ok(expect(server.requests().is_empty(), "the request was sent"))
}

async fn failing_key(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let server = suite.server(version, ClientAuth::Requested)?;
    let identity = suite.authority.failing_identity()?;
    let sent = suite.get(&server, Some(&identity)).await?;
    let unusable = expect_kind(sent, TransportErrorKind::IdentityUnusable);
    Ok(unusable.and(expect(server.requests().is_empty(), "the request was sent")))
}

/// On kept connections, and on new ones, which may resume a session.
async fn separate(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let server = suite.server(version, ClientAuth::Requested)?;
    let (one, other) = (suite.authority.identity()?, suite.authority.identity()?);
    for round in 0..6 {
        for identity in [Some(&one), Some(&other), None] {
            if let Err(wrong) = served(suite.get(&server, identity).await?) {
                return Ok(Err(wrong));
            }
            let seen = server.requests().last().and_then(|request| request.certificate);
            if seen != identity.map(ClientIdentity::thumbprint) {
                return Ok(Err("a request was sent with another identity than its own".to_owned()));
            }
        }
        if round % 2 == 1 {
            server.close_all();
        }
    }
    Ok(Ok(()))
}

async fn lost_twice(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let server = suite.server(version, ClientAuth::Requested)?;
    server.handle(Handling::Lose);
    let identity = suite.authority.identity()?;
    let sent = suite.get(&server, Some(&identity)).await?;
    let rejected = expect_kind(sent, TransportErrorKind::IdentityRejected);
    let accepted = server.accepted();
    Ok(rejected.and(expect(accepted == 2, &format!("there were {accepted} connections"))))
}

async fn lost_post(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    post_is_lost(suite, version, None).await
}

/// Anybody on the way can end TCP, but not TLS (RFC 8446 §6.1).
async fn truncated(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let server = suite.server(version, ClientAuth::Requested)?;
    server.handle(Handling::Truncate);
    Ok(expect_kind(suite.get(&server, None).await?, TransportErrorKind::Interrupted))
}

async fn lost_bound_post(suite: &TlsSuite, version: Version) -> SuiteResult<Case> {
    let identity = suite.authority.identity()?;
    post_is_lost(suite, version, Some(&identity)).await
}

/// On a new connection, and on a kept one.
async fn post_is_lost(
    suite: &TlsSuite,
    version: Version,
    identity: Option<&ClientIdentity>,
) -> SuiteResult<Case> {
    for is_kept in [false, true] {
        let server = suite.server(version, ClientAuth::Requested)?;
        if is_kept && let Err(wrong) = served(suite.get(&server, identity).await?) {
            return Ok(Err(wrong));
        }
        server.handle(Handling::Lose);
        let sent = suite.send(&server, Method::POST, identity).await?;
        let interrupted = expect_kind(sent, TransportErrorKind::Interrupted);
        let copies = server.requests().iter().filter(|request| request.line.starts_with("POST ")).count();
        let outcome = interrupted.and(expect(copies == 1, &format!("the server received {copies} copies")));
        if outcome.is_err() {
            return Ok(outcome);
        }
    }
    Ok(Ok(()))
}
