//! The fields of the logs, as `symbolon-token` documents them.

use crate::test_env::TestEnv;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use http::StatusCode;
use symbolon::ManagedIdentityId;
use symbolon_emulator::{Fault, Step};
use symbolon_test_logs::CapturedLogs;
use symbolon_tests::RESOURCE;
use symbolon_token::authority::Authority;
use symbolon_token::{Application, ClientCertificate, ClientSecret, RoutingHint, TokenClient};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Response, RetryPolicy, TransportError};
use symbolon_types::{Context, Env, Secret};

/// The lines about an event.
fn lines(logs: &CapturedLogs, event: &str) -> Vec<String> {
    let text = logs.text();
    text.lines().filter(|line| line.contains(event)).map(str::to_owned).collect()
}

#[tokio::test]
async fn fetch_and_hit_log_the_same_token() {
    let logs = CapturedLogs::begin();
    let test_env = TestEnv::new().await;
    let client = test_env.certificate_client(test_env.certificate());
    let token = test_env.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap();
    let id = token.correlation_id();

    let fetched = lines(&logs, "fetched a token");
    let [fetched] = &*fetched else { panic!("{fetched:?}") };
    for field in [
        " INFO ",
        &format!("token{{audience=\"{RESOURCE}\" bound=true renewal=false}}"),
        "token_type=\"mtls_pop\" attempts=1 duration_ms=",
        &format!("correlation_id={id}"),
    ] {
        assert!(fetched.contains(field), "{field} is not in {fetched}");
    }
    let served = lines(&logs, "served a token");
    assert_eq!(served.len(), 2, "{served:?}");
    for (served, source) in served.iter().zip(["network", "cache"]) {
        let fields = format!(
            "source=\"{source}\" audience=\"{RESOURCE}\" token_type=\"mtls_pop\" correlation_id={id}"
        );
        assert!(served.contains("DEBUG") && served.contains(&fields), "{fields} is not in {served}");
    }
}

#[tokio::test]
async fn failed_fetch_logs_its_error() {
    let logs = CapturedLogs::begin();
    let test_env = TestEnv::new().await;
    let client = test_env.certificate_client(test_env.certificate());
    test_env.keep(client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap());
    test_env.emulator.inject(Fault::oauth_error("invalid_request", &[90002]));
    let again = client.token_for_resource(RESOURCE).proof_of_possession().force_refresh();
    let error = again.await.unwrap_err();

    let failed = lines(&logs, "could not fetch a token");
    let [failed] = &*failed else { panic!("{failed:?}") };
    for field in [
        " WARN ",
        "bound=true renewal=true}",
        "code=\"invalid_request\" status=400 server_codes=[90002] duration_ms=",
        &format!("correlation_id={}", error.correlation_id().unwrap()),
    ] {
        assert!(failed.contains(field), "{field} is not in {failed}");
    }
}

#[tokio::test]
async fn identity_kind_is_sent_as_telemetry() {
    let test_env = TestEnv::new().await;
    let assigned = ManagedIdentityId::client_id(&test_env.emulator.user_assigned().client_id).unwrap();
    for (id, api) in [(ManagedIdentityId::system_assigned(), 1015), (assigned, 1016)] {
        test_env.bound_token(&test_env.builder().identity(id).build().unwrap()).await;
        let request = test_env.last_token_request();
        let expected = format!("5|{api},2,,,|0,0,6,,,");
        assert_eq!(request.header("x-client-current-telemetry"), Some(expected.as_str()));
    }
}

/// A token about a user of Entra ID, with a refresh token.
fn about_user(object_id: &str, tenant_id: &str) -> Result<Response, TransportError> {
    let info = format!(r#"{{"uid":"{object_id}","utid":"{tenant_id}"}}"#);
    let info = Base64UrlUnpadded::encode_string(info.as_bytes());
    let body = serde_json::json!({
        "token_type": "Bearer", "access_token": "t", "expires_in": 3600,
        "client_info": info, "refresh_token": "rt",
    });
    Ok(Response::new(StatusCode::OK, body.to_string()))
}

#[tokio::test]
async fn routing_hint_is_sent_and_not_logged() {
    let logs = CapturedLogs::begin();
    let (object_id, tenant_id) =
        ("9f4880d8-80ba-4c40-97bc-f7a23c703084", "751a212b-4003-416e-b600-e1f48e40db9f");
    let name = "user@contoso.example";
    let transport = ScriptedTransport::new((0..2).map(|_| about_user(object_id, tenant_id)));
    let authority = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
    let application = Application::new(authority, "client").unwrap();
    let credential = ClientSecret::new(application, Secret::new("secret")).unwrap();
    let client = TokenClient::builder(credential, transport.clone())
        .retry(RetryPolicy::once())
        .context(Context::default().with_env(Env::empty()))
        .build();
    let assertion = Secret::new("assertion");
    let hint = RoutingHint::username(name).unwrap();
    client.start_session("session", &assertion, "api").routing_hint(hint).await.unwrap();
    client.session_token("session", "other").await.unwrap();
    let failed = client.session_token("session", "another").await;
    failed.unwrap_err();
    for (request, who) in transport.requests().iter().zip([name, object_id, object_id]) {
        let hint = request.headers()["x-anchormailbox"].to_str().unwrap();
        assert!(hint.contains(who), "{hint}");
    }
    let text = logs.text();
    assert!(text.contains("fetched a token") && text.contains("could not fetch a token"), "{text}");
    for personal in [object_id, tenant_id, name] {
        assert!(!text.contains(personal), "somebody is named:\n{text}");
    }
}

#[tokio::test]
async fn refused_credential_logs_its_successor() {
    let logs = CapturedLogs::begin();
    let test_env = TestEnv::new().await;
    let credential = ClientCertificate::new(test_env.application(), test_env.certificate()).unwrap();
    let client = test_env.client_builder(credential).build();
    test_env.emulator.inject(Fault::oauth_error("invalid_client", &[]).times(2));
    client.token_for_resource(RESOURCE).await.unwrap_err();
    test_env.bound_token(&test_env.identity()).await;
    let refused = lines(&logs, "the credential was refused");
    assert_eq!(refused.len(), 2, "{refused:?}");
    for (refused, has_successor) in refused.iter().zip([false, true]) {
        let fields = format!("code=\"invalid_client\" has_successor={has_successor}");
        assert!(refused.contains(" WARN ") && refused.contains(&fields), "{fields} is not in {refused}");
    }
}

#[tokio::test]
async fn bearer_requests_count_their_retries() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.emulator.inject(Fault::status(Step::ImdsToken, 503).times(2));
    let token = test_env.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!(token.attempts(), 3);
}
