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
    for (first, probes) in [
        (Ok(answer(400, IMDS, "")), 1),
        // Another server: the error of the request that follows says so.
        (Ok(answer(403, None, "")), 1),
    ] {
        let transport =
            ScriptedTransport::new([first, Ok(answer(200, IMDS, "{}")), Ok(answer(200, IMDS, "{}"))]);
        let http = HttpClient::new(SharedTransport::new(transport.clone()), Context::default());
        let imds = ImdsClient::new(IMDS_BASE_URL.parse().unwrap(), http).unwrap();
        let imds = imds.with_presence(Some(ImdsPresence::unknown()));
        imds.send(&request(&id, &policy)).await.unwrap();
        imds.clone().send(&request(&id, &policy)).await.unwrap();
        let without =
            transport.requests().iter().filter(|sent| !sent.headers().contains_key("metadata")).count();
        assert_eq!((without, transport.requests().len()), (probes, 3));
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
