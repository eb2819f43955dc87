//! Requests to regions, over a scripted transport.

#![cfg(test)]

use futures_util::FutureExt;
use http::StatusCode;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use symbolon_token::authority::{Authority, Region, RegionChoice};
use symbolon_token::{
    Application, AuthorizationCode, ClientAssertion, ClientSecret, Error, SignedAssertion, Token,
    TokenClient, assertion_fn,
};
use symbolon_transport::testing::{PublicHalf, ScriptedTransport};
use symbolon_transport::{Response, RetryPolicy, TransportError};
use symbolon_types::{ClientIdentity, Context, Env, ManualClock, Secret, SharedSigningKey};

/// The flows of token requests.
const FLOWS: [&str; 5] = ["client", "on behalf of", "session", "code", "refresh token"];
const GLOBAL: &str = "login.microsoftonline.com";

type HttpResult = Result<Response, TransportError>;

fn issued() -> HttpResult {
    let body = r#"{"token_type":"Bearer","access_token":"t","expires_in":3600,"refresh_token":"rt"}"#;
    Ok(Response::new(StatusCode::OK, body))
}

fn located(region: &str) -> HttpResult {
    Ok(Response::new(StatusCode::OK, format!(r#"{{"location":"{region}"}}"#)))
}

fn identity() -> ClientIdentity {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let key = SharedSigningKey::new(PublicHalf::new(key.subject_public_key_info()));
    ClientIdentity::new(vec![certificate.der().clone()], key).unwrap()
}

/// A client with an assertion, which `binding` binds to a certificate.
fn client(
    region: RegionChoice,
    env: Env,
    binding: Option<ClientIdentity>,
    transport: &ScriptedTransport,
) -> TokenClient {
    let authority = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
    let application = Application::new(authority, "client").unwrap().region(region);
    let credential = ClientAssertion::new(
        application,
        assertion_fn(move |_| {
            let assertion = SignedAssertion::new(Secret::new("assertion"));
            let assertion = match binding.clone() {
                Some(identity) => assertion.bound_to(identity),
                None => assertion,
            };
            async { Ok(assertion) }
        }),
    );
    TokenClient::builder(credential, transport.clone())
        .retry(RetryPolicy::once())
        .context(Context::default().with_env(env))
        .build()
}

async fn token(client: &TokenClient, flow: &str) -> Result<Token, Error> {
    let secret = Secret::new("theirs");
    match flow {
        "client" => client.token("api").await,
        "on behalf of" => client.on_behalf_of(&secret, "api").await,
        "session" => client.start_session("key", &secret, "api").await,
        "code" => client.redeem_code(&AuthorizationCode::new(secret, "https://app.example/"), "api").await,
        "refresh token" => client.redeem_refresh_token(&secret, "api").await,
        other => panic!("{other}"),
    }
}

fn hosts(transport: &ScriptedTransport) -> Vec<String> {
    let host = |url: &url::Url| url.host_str().unwrap().to_owned();
    transport.requests().iter().map(|request| host(request.url())).collect()
}

fn fixed() -> RegionChoice {
    RegionChoice::Fixed(Region::parse("westus2").unwrap())
}

#[tokio::test]
async fn rg17_region_serves_client_tokens() {
    for flow in FLOWS {
        let transport = ScriptedTransport::new([issued()]);
        token(&client(fixed(), Env::empty(), None, &transport), flow).await.unwrap();
        let expected = if flow == "client" { "westus2.login.microsoft.com" } else { GLOBAL };
        assert_eq!(hosts(&transport), [expected], "{flow}");
    }
}

#[tokio::test]
async fn rg17_certificate_flows_use_the_region() {
    let identity = identity();
    for flow in FLOWS {
        let transport = ScriptedTransport::new([issued()]);
        let client = client(fixed(), Env::empty(), Some(identity.clone()), &transport);
        token(&client, flow).await.unwrap();
        assert_eq!(hosts(&transport), ["westus2.mtlsauth.microsoft.com"], "{flow}");
    }
}

#[tokio::test]
async fn rg05_region_is_detected_only_if_used() {
    let identity = identity();
    for (binding, flows, host) in [
        (None, &FLOWS[..1], "westus.login.microsoft.com"),
        (Some(identity), &FLOWS[..], "westus.mtlsauth.microsoft.com"),
    ] {
        for flow in FLOWS {
            let is_served = flows.contains(&flow);
            let answers = is_served.then(|| located("westus")).into_iter().chain([issued()]);
            let transport = ScriptedTransport::new(answers);
            let client = client(RegionChoice::Detect, Env::empty(), binding.clone(), &transport);
            token(&client, flow).await.unwrap();
            let expected = if is_served { vec!["169.254.169.254", host] } else { vec![GLOBAL] };
            assert_eq!(hosts(&transport), expected, "{flow}");
        }
    }
}

#[tokio::test]
async fn rg13_bad_region_fails_client_tokens_only() {
    let env: Env = [("MSAL_FORCE_REGION", "for.ced")].into_iter().collect();
    for flow in FLOWS {
        let transport = ScriptedTransport::new([issued()]);
        let client = client(RegionChoice::Unset, env.clone(), None, &transport);
        let outcome = token(&client, flow).await.map_err(|error| error.code().to_owned());
        match flow {
            "client" => assert_eq!(outcome.err().as_deref(), Some("invalid_region")),
            _ => assert_eq!((outcome.is_ok(), hosts(&transport)), (true, vec![GLOBAL.to_owned()]), "{flow}"),
        }
    }
}

#[tokio::test]
async fn n13_region_and_global_host_alternate() {
    let transport = ScriptedTransport::new([issued(), issued(), issued()]);
    let client = client(fixed(), Env::empty(), None, &transport);
    // Both look-ups share the cached client authentication.
    token(&client, "client").await.unwrap();
    token(&client, "on behalf of").await.unwrap();
    token(&client, "client").await.unwrap();
    token(&client, "on behalf of").await.unwrap();
    client.token("other").await.unwrap();
    let regional = "westus2.login.microsoft.com";
    assert_eq!(hosts(&transport), [regional, GLOBAL, regional]);
}

/// The clock never advances, so that a request which waits never ends.
#[test]
fn retry_scale_of_zero_disables_pauses() {
    let busy = || Ok(Response::new(StatusCode::SERVICE_UNAVAILABLE, ""));
    let metadata = r#"{"issuer":"https://idp.example","token_endpoint":"https://idp.example/token"}"#;
    let entra = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
    for (authority, found) in [
        (entra, located("westus")),
        (Authority::oidc("https://idp.example").unwrap(), Ok(Response::new(StatusCode::OK, metadata))),
    ] {
        for (scale, is_ready) in [(0.0, true), (0.001, false)] {
            let transport = ScriptedTransport::new([busy(), busy(), found.clone(), busy(), busy(), issued()]);
            let application = Application::new(authority.clone(), "client").unwrap();
            let application = application.region(RegionChoice::Detect);
            let credential = ClientSecret::new(application, Secret::new("secret")).unwrap();
            let client = TokenClient::builder(credential, transport.clone())
                .context(
                    Context::default()
                        .with_env(Env::empty())
                        .with_clock(&ManualClock::new())
                        .with_retry_scale(scale),
                )
                .build();
            let token = client.token("api").into_future().now_or_never();
            assert_eq!(token.is_some_and(|token| token.is_ok()), is_ready, "{authority:?}");
            assert_eq!(transport.requests().len(), if is_ready { 6 } else { 1 });
        }
    }
}
