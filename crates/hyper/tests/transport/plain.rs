//! Requests without a client certificate.

use std::time::Duration;

use http::Method;
use symbolon_hyper::{HyperTransport, TlsVersion};
use symbolon_transport::{BODY_LIMIT, Request, Route, Transport, TransportErrorKind, conformance};
use symbolon_types::{Context, Env, ManualClock};

use crate::authority::Authority;
use crate::server::{ClientCertificates, Fault, ServerOptions, VERSIONS};
use crate::{eventually, get, outcome, trusting};

#[tokio::test]
async fn transport_conformance() {
    let transport =
        HyperTransport::builder().context(Context::default().with_env(Env::empty())).build().unwrap();
    let report = conformance::check(transport).await;
    assert!(report.holds(), "{report}");
}

#[tokio::test]
async fn transport_conformance_with_tls() {
    let report = conformance::check_tls(|root| {
        HyperTransport::builder()
            .platform_roots(false)
            .context(Context::default().with_env(Env::empty()))
            .root_certificates([root])
            .build()
            .unwrap()
    })
    .await;
    assert!(report.holds(), "{report}");
}

/// Runs again in namespaces of its own, where a name has public addresses without a network.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn plain_http_to_public_name_is_refused() {
    use std::net::ToSocketAddrs;
    use std::process::Command;

    if ("public.symbolon.test", 80).to_socket_addrs().is_ok() {
        let transport =
            HyperTransport::builder().context(Context::default().with_env(Env::empty())).build().unwrap();
        let url = "http://public.symbolon.test/token".parse().unwrap();
        let report = conformance::check_public_name(transport, &url).await;
        assert!(report.holds(), "{report}");
        return;
    }
    let hosts = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&hosts, "203.0.113.7 public.symbolon.test\n2001:db8::7 public.symbolon.test\n").unwrap();
    let isolated = ["--net", "--mount", "--map-root-user"];
    // The second run must see the name, or it would run a third time.
    let script = r#"mount --bind "$0" /etc/hosts && getent hosts public.symbolon.test"#;
    let shell = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(isolated).args(["sh", "-c", script]).arg(hosts.path());
        command
    };
    if !shell(script).output().is_ok_and(|output| output.status.success()) {
        return symbolon_test_programs::missing("mount namespace");
    }
    let output = shell(&format!(r#"{script} && exec "$1" --exact "$2""#))
        .arg(std::env::current_exe().unwrap())
        .arg("plain::plain_http_to_public_name_is_refused")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
}

#[tokio::test]
async fn request_without_identity_presents_none() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Optional).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        assert_eq!(outcome(&transport, get(&server.url(), None)).await.as_deref(), Ok("hello"));
        assert_eq!(server.journal().handshakes[0].certificate, None);
    }
}

#[tokio::test]
async fn missing_certificate_is_a_tls_error() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let sent = outcome(&transport, get(&server.url(), None)).await;
        // Under TLS 1.3, a reset may overtake the alert.
        let possible = [TransportErrorKind::Tls, TransportErrorKind::Interrupted];
        assert!(sent.is_err_and(|kind| possible.contains(&kind)));
    }
}

#[tokio::test]
async fn untrusted_server_is_a_tls_error() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Required).start(&stranger);
        let transport = trusting(&authority).build().unwrap();
        let identity = authority.identity(crate::keys::Algorithm::P256);
        for identity in [None, Some(&identity)] {
            let sent = outcome(&transport, get(&server.url(), identity)).await;
            assert_eq!(sent, Err(TransportErrorKind::Tls));
        }
        assert!(server.journal().requests.is_empty());
    }
}

#[tokio::test]
async fn wrong_server_name_is_a_tls_error() {
    let authority = Authority::new();
    for names in [&["service.example"][..], &["127.0.0.1"]] {
        let server =
            ServerOptions::new(VERSIONS[1], ClientCertificates::Never).named(names).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        assert_eq!(outcome(&transport, get(&server.url(), None)).await, Err(TransportErrorKind::Tls));
        assert_eq!(server.journal().accepted, 1);
    }
}

#[tokio::test]
async fn minimum_tls_version_is_enforced() {
    let authority = Authority::new();
    let (old, new) = (
        ServerOptions::new(VERSIONS[0], ClientCertificates::Never),
        ServerOptions::new(VERSIONS[1], ClientCertificates::Never),
    );
    let (old, new) = (old.start(&authority), new.start(&authority));
    let transport = trusting(&authority).minimum_tls(TlsVersion::V1_3).build().unwrap();
    assert_eq!(outcome(&transport, get(&old.url(), None)).await, Err(TransportErrorKind::Tls));
    assert_eq!(outcome(&transport, get(&new.url(), None)).await.as_deref(), Ok("hello"));
}

#[tokio::test]
async fn target_and_headers_arrive_unchanged() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    let transport = trusting(&authority).build().unwrap();
    let path = "/a%2Fb//c;d=1/?q=%20x`|^&e=a+b&&=";
    let url = format!("https://localhost:{}{path}#fragment", server.address().port());
    let mut request = get(&url, None);
    request.headers_mut().insert("x-ms-client", "1".parse().unwrap());
    outcome(&transport, request).await.unwrap();
    let port = server.address().port();
    let expected = format!("GET {path} HTTP/1.1\r\nx-ms-client: 1\r\nhost: localhost:{port}\r\n\r\n");
    assert_eq!(server.journal().requests[0].text, expected);
}

#[tokio::test]
async fn empty_post_sends_content_length() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    let transport = trusting(&authority).build().unwrap();
    let request = Request::new(Method::POST, server.url().parse().unwrap(), Route::Local);
    outcome(&transport, request).await.unwrap();
    assert!(server.journal().requests[0].text.contains("content-length: 0\r\n"));
}

#[tokio::test]
async fn idle_connection_is_reused_until_limit() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    let manual_clock = ManualClock::new();
    let transport =
        trusting(&authority).context(Context::default().with_clock(&manual_clock)).build().unwrap();
    for (idle, connections) in [(0, 1), (89, 1), (91, 2), (10, 2)] {
        manual_clock.advance(Duration::from_secs(idle));
        outcome(&transport, get(&server.url(), None)).await.unwrap();
        assert_eq!(server.journal().accepted, connections, "after {idle} seconds");
    }
    eventually("the old connection is closed", || server.journal().open == 1).await;
}

#[tokio::test]
async fn closed_connection_is_replaced() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Never)
            .fault(Fault::CloseAfterResponse)
            .start(&authority);
        let transport = trusting(&authority).build().unwrap();
        // No pause, so that the close arrives before or after the request is written.
        for sent in 1..=20 {
            assert_eq!(outcome(&transport, get(&server.url(), None)).await.as_deref(), Ok("hello"));
            assert_eq!(server.journal().requests.len(), sent);
        }
    }
}

#[tokio::test]
async fn lost_kept_connection_is_replaced_once() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Never).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        outcome(&transport, get(&server.url(), None)).await.unwrap();
        // The server now closes after each request, on the kept and on the fresh connection.
        server.set_fault(Fault::HangUpAfter(0));
        let sent = outcome(&transport, get(&server.url(), None)).await;
        assert_eq!(sent, Err(TransportErrorKind::Interrupted));
        let connections: Vec<_> = server.journal().requests.iter().map(|one| one.connection).collect();
        assert_eq!(connections, [1, 1, 2], "{version:?}");
    }
}

#[tokio::test]
async fn partial_response_is_not_retried() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    let transport = trusting(&authority).build().unwrap();
    outcome(&transport, get(&server.url(), None)).await.unwrap();
    server.set_fault(Fault::HangUpAfter(1));
    assert_eq!(outcome(&transport, get(&server.url(), None)).await, Err(TransportErrorKind::Interrupted));
    assert_eq!(server.journal().requests.len(), 2);
}

#[tokio::test]
async fn newest_open_connection_is_used() {
    let authority = Authority::new();
    for version in VERSIONS {
        let server = ServerOptions::new(version, ClientCertificates::Never).start(&authority);
        let transport = trusting(&authority).build().unwrap();
        let request = || get(&server.url(), None);
        let (one, other) = tokio::join!(outcome(&transport, request()), outcome(&transport, request()));
        assert!(one.is_ok() && other.is_ok());
        outcome(&transport, request()).await.unwrap();
        server.close(server.journal().requests.last().unwrap().connection);
        eventually("one is closed", || server.journal().open == 1).await;
        outcome(&transport, request()).await.unwrap();
        assert_eq!(server.journal().accepted, 2, "{version:?}");
    }
}

#[tokio::test]
async fn announced_large_body_fails_at_once() {
    let authority = Authority::new();
    let fault = Fault::Announce(BODY_LIMIT + 1);
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).fault(fault).start(&authority);
    let transport = trusting(&authority).build().unwrap();
    assert_eq!(outcome(&transport, get(&server.url(), None)).await, Err(TransportErrorKind::TooLarge));
    eventually("its connection is closed", || server.journal().open == 0).await;
}

#[tokio::test]
async fn idle_connections_are_bounded() {
    let authority = Authority::new();
    let server = ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority);
    let transport = trusting(&authority).build().unwrap();
    let burst: Vec<_> = (0..30)
        .map(|_| {
            let (transport, request) = (transport.clone(), get(&server.url(), None));
            tokio::spawn(async move { outcome(&transport, request).await })
        })
        .collect();
    for sent in burst {
        assert_eq!(sent.await.unwrap().as_deref(), Ok("hello"));
    }
    eventually("at most 8 are open", || server.journal().open <= 8).await;
    assert!(server.journal().accepted > 8);
}

#[test]
fn connections_stay_in_their_runtime() {
    let authority = Authority::new();
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let servers = runtime();
    let server = servers
        .block_on(async { ServerOptions::new(VERSIONS[1], ClientCertificates::Never).start(&authority) });
    let transport = trusting(&authority).build().unwrap();
    // The first runtime still exists, but no thread drives it.
    let first = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    first.block_on(outcome(&transport, get(&server.url(), None))).unwrap();
    runtime().block_on(outcome(&transport, get(&server.url(), None))).unwrap();
    assert_eq!(server.journal().accepted, 2);
}

#[test]
fn missing_runtime_is_an_error() {
    let transport =
        HyperTransport::builder().context(Context::default().with_env(Env::empty())).build().unwrap();
    let mut sending = Box::pin(transport.send(get("https://localhost:1/", None)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(sent) = sending.as_mut().poll(&mut context) else { panic!("it waits") };
    assert_eq!(sent.unwrap_err().kind(), TransportErrorKind::Unsupported);
}
