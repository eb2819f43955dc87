//! Probes of the metadata service.

use symbolon_binding::ManagedIdentityId;
use symbolon_binding::imds::{
    IMDS_BASE_URL, ImdsClient, ImdsEndpoint, ImdsPresence, ImdsRequest, ProbeStatus,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{HttpClient, RetryPolicy, SharedTransport, TransportError, TransportErrorKind};
use symbolon_types::{Context, CorrelationId, Jitter, ManualClock, Secrets, SharedClock};

use crate::issuer::answer;

const IMDS: Option<&str> = Some("IMDS/150.870.65.1854");
const PRESENT: &str = "present (refuses a request without the Metadata header, as it should)";

#[tokio::test]
async fn probe_status_follows_the_response() {
    let answered = |status| Ok(answer(status, IMDS, "ignored"));
    let other = |server| Ok(answer(400, server, "ignored"));
    let failed = |kind: TransportErrorKind| Err(TransportError::from(kind));
    for (outcome, status, reason) in [
        (answered(400), ProbeStatus::Present, PRESENT),
        (
            other(None),
            ProbeStatus::Absent,
            "absent: another server answered with status 400 (no Server header)",
        ),
        (
            other(Some("squid/6.1")),
            ProbeStatus::Absent,
            "absent: another server answered with status 400 (Server: squid/6.1)",
        ),
        (answered(404), ProbeStatus::Absent, "absent: answered with status 404"),
        (answered(500), ProbeStatus::Absent, "absent: answered with status 500"),
        (answered(429), ProbeStatus::Absent, "absent: answered with status 429"),
        (answered(200), ProbeStatus::Absent, "absent: answered with status 200"),
        (failed(TransportErrorKind::Timeout), ProbeStatus::Unreachable, "did not answer in time"),
        (failed(TransportErrorKind::Connect), ProbeStatus::Unreachable, "could not be reached"),
        (failed(TransportErrorKind::Protocol), ProbeStatus::Unreachable, "did not answer like a web server"),
    ] {
        for (endpoint, url) in [
            (ImdsEndpoint::PlatformMetadata, "identity/getplatformmetadata?cred-api-version=2.0"),
            (ImdsEndpoint::BearerToken, "identity/oauth2/token?api-version=2018-02-01"),
        ] {
            let transport = ScriptedTransport::new([outcome.clone()]);
            let (clock, jitter) = (SharedClock::from(&ManualClock::new()), Jitter::fixed(0.5));
            let http = HttpClient::new(
                SharedTransport::new(transport.clone()),
                Context::default().with_clock(clock).with_jitter(jitter),
            );
            let imds = ImdsClient::new(IMDS_BASE_URL.parse().unwrap(), http).unwrap();
            let probe = imds.probe(endpoint).await;
            assert_eq!((probe.status, &*probe.reason), (status, reason));
            let requests = transport.requests();
            let [request] = &requests[..] else { panic!("{requests:?}") };
            assert_eq!(request.url().as_str(), format!("{IMDS_BASE_URL}/metadata/{url}"));
            // Without it, the service refuses the request.
            assert!(!request.headers().contains_key("metadata"));
        }
    }
}

/// The header can have any length and any bytes.
#[tokio::test]
async fn name_of_another_server_is_printable() {
    let name = format!("\u{80}{}", "x".repeat(1000));
    let headers = [(http::header::SERVER, http::HeaderValue::from_bytes(name.as_bytes()).unwrap())];
    let response = answer(400, None, "").with_headers(headers.into_iter().collect());
    let transport = ScriptedTransport::new([Ok(response)]);
    let http = HttpClient::new(SharedTransport::new(transport), Context::default());
    let imds = ImdsClient::new(IMDS_BASE_URL.parse().unwrap(), http).unwrap();
    let reason = imds.probe(ImdsEndpoint::BearerToken).await.reason;
    let shown = format!("(Server: \\u{{80}}{})", "x".repeat(63));
    assert!(reason.ends_with(&shown), "{reason}");
}

fn request<'a>(id: &'a ManagedIdentityId, policy: &'a RetryPolicy) -> ImdsRequest<'a> {
    ImdsRequest {
        endpoint: ImdsEndpoint::BearerToken,
        id,
        resource: Some("https://vault.azure.net"),
        bypass_cache: false,
        body: None,
        secrets: Secrets::none(),
        policy,
        correlation_id: CorrelationId::random(),
    }
}

/// A service that has responded once is requested without a probe.
#[tokio::test]
async fn first_request_follows_a_probe() {
    let (id, policy) = (ManagedIdentityId::system_assigned(), RetryPolicy::imds());
    let failed = |kind: TransportErrorKind| Err(TransportError::from(kind));
    // A product that takes the place of the service has another name, or none.
    for server in [IMDS, None, Some("nginx")] {
        let transport = ScriptedTransport::new([
            Ok(answer(400, server, "")),
            Ok(answer(200, server, "{}")),
            Ok(answer(200, server, "{}")),
        ]);
        let http = HttpClient::new(SharedTransport::new(transport.clone()), Context::default());
        let imds = ImdsClient::new(IMDS_BASE_URL.parse().unwrap(), http).unwrap();
        let imds = imds.with_presence(Some(ImdsPresence::unknown()));
        imds.send(&request(&id, &policy)).await.unwrap();
        imds.clone().send(&request(&id, &policy)).await.unwrap();
        let without =
            transport.requests().iter().filter(|sent| !sent.headers().contains_key("metadata")).count();
        assert_eq!((without, transport.requests().len()), (1, 3));
    }
    for kind in [
        TransportErrorKind::Timeout,
        TransportErrorKind::Connect,
        TransportErrorKind::Interrupted,
        TransportErrorKind::Protocol,
    ] {
        let transport = ScriptedTransport::new([failed(kind), failed(kind)]);
        let http = HttpClient::new(SharedTransport::new(transport.clone()), Context::default());
        let imds = ImdsClient::new(IMDS_BASE_URL.parse().unwrap(), http).unwrap();
        let imds = imds.with_presence(Some(ImdsPresence::unknown()));
        for sent in 1..=2 {
            let error = imds.send(&request(&id, &policy)).await.unwrap_err();
            assert_eq!(error.code(), "managed_identity_unreachable", "{kind:?}");
            assert!(error.to_string().contains("at http://169.254.169.254"), "{error}");
            // The next request probes again.
            assert_eq!(transport.requests().len(), sent, "{kind:?}");
        }
    }
}

/// A proxy, a page for guests or the metadata service of another cloud has the address.
#[tokio::test]
async fn other_server_is_no_source() {
    let (id, policy) = (ManagedIdentityId::system_assigned(), RetryPolicy::imds());
    for endpoint in [ImdsEndpoint::BearerToken, ImdsEndpoint::PlatformMetadata] {
        for (status, server, body, shown) in [
            (403, Some("squid/6.6"), "<html>denied</html>", "(Server: squid/6.6)"),
            (503, Some("squid/6.6"), "", "(Server: squid/6.6)"),
            (404, Some("EC2ws"), "", "(Server: EC2ws)"),
            (404, None, "", "(no Server header)"),
            (401, None, "{}", "(no Server header)"),
            (302, Some("nginx"), "", "(Server: nginx)"),
            (200, Some("nginx"), "<html>log in</html>", "(Server: nginx)"),
        ] {
            let responses = (0..4).map(|_| Ok(answer(status, server, body)));
            let transport = ScriptedTransport::new(responses);
            let context = Context::default().with_retry_scale(0.0);
            let http = HttpClient::new(SharedTransport::new(transport.clone()), context);
            let imds = ImdsClient::new(IMDS_BASE_URL.parse().unwrap(), http).unwrap();
            let imds = imds.with_presence(Some(ImdsPresence::unknown()));
            for sent in [2, 4] {
                let request = ImdsRequest { endpoint, ..request(&id, &policy) };
                let error = imds.send(&request).await.unwrap_err();
                assert_eq!(
                    (error.code(), error.status(), error.is_transient()),
                    ("managed_identity_unreachable", Some(status), false),
                    "{error}"
                );
                assert!(error.to_string().contains(shown), "{error}");
                assert_eq!(transport.requests().len(), sent, "{status}");
            }
        }
    }
}

/// A gateway of the host without a name may stand in for a service that is being restarted.
#[tokio::test]
async fn unnamed_gateway_is_retried() {
    let (id, policy) = (ManagedIdentityId::system_assigned(), RetryPolicy::imds());
    let gateway = || Ok(answer(502, None, ""));
    let send = async |responses: Vec<_>| {
        let transport = ScriptedTransport::new(responses);
        let context = Context::default().with_retry_scale(0.0);
        let http = HttpClient::new(SharedTransport::new(transport.clone()), context);
        let imds = ImdsClient::new(IMDS_BASE_URL.parse().unwrap(), http).unwrap();
        let imds = imds.with_presence(Some(ImdsPresence::unknown()));
        let sent = imds.send(&request(&id, &policy)).await.map(|sent| sent.attempts);
        (sent.map_err(|error| error.code().to_owned()), transport.requests().len())
    };
    let recovers = vec![gateway(), gateway(), gateway(), Ok(answer(200, IMDS, "{}"))];
    assert_eq!(send(recovers).await, (Ok(3), 4));
    let stays = (0..5).map(|_| gateway()).collect();
    assert_eq!(send(stays).await, (Err("managed_identity_unreachable".to_owned()), 5));
}
