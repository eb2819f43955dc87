//! Log output.

use http::HeaderValue;
use symbolon_test_logs::CapturedLogs;
use symbolon_transport::Transport;

use crate::authority::Authority;
use crate::keys::Algorithm;
use crate::server::{ClientCertificates, Fault, ServerOptions, VERSIONS};
use crate::{get, outcome, trusting};

#[tokio::test]
async fn logs_contain_no_secret() {
    let logs = CapturedLogs::begin();

    let authority = Authority::new();
    let mut setup = ServerOptions::new(VERSIONS[1], ClientCertificates::Required);
    setup.body = "s3cr3t-response".to_owned();
    let server = setup.start(&authority);
    let transport = trusting(&authority).build().unwrap();
    let identity = authority.identity(Algorithm::Rsa2048);
    let request = || {
        let url = server.url().replace("/token?a=b", "/s3cr3t-path?code=s3cr3t-query");
        let mut request = get(&url, Some(&identity)).with_body(&b"client_assertion=s3cr3t-body"[..]);
        request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer s3cr3t-header"));
        request
    };
    for _ in 0..2 {
        outcome(&transport, request()).await.unwrap();
    }
    server.set_fault(Fault::HangUpAfter(0));
    // The first request loses the kept connection, the second one only new connections.
    transport.send(request()).await.unwrap_err();
    let error = transport.send(request()).await.unwrap_err();

    let text = logs.text();
    for expected in [
        "connecting",
        "TLS handshake",
        "version=\"1.3\"",
        "is_resumed=false",
        "is_resumed=true",
        "reusing a connection",
        "the kept connection was lost; sending again",
        "the new connection was lost; sending again",
        "kind=IdentityRejected",
    ] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    for shown in [text, format!("{transport:?} {error:?} {error}")] {
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(!shown.contains(&identity.thumbprint().to_string()), "{shown}");
    }
}
