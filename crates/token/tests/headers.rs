//! The headers of token requests, over a scripted transport.

#![cfg(test)]

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::StatusCode;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use symbolon_token::authority::{Authority, Region, RegionChoice};
use symbolon_token::{
    Account, Application, AuthorizationCode, Caching, ClientAuth, ClientSecret, CredentialRejection,
    CredentialRequest, CredentialSource, Error, ManagedIdentityKind, MemoryStore, Partition, RoutingHint,
    TokenCache, TokenClient, TokenClientBuilder, TokenEndpoint,
};
use symbolon_transport::testing::{PublicHalf, ScriptedTransport};
use symbolon_transport::{Response, RetryPolicy, TransportError};
use symbolon_types::{
    ClientIdentity, Context, Env, Jitter, ManualClock, Secret, SharedClock, SharedSigningKey,
};

const TELEMETRY: &str = "x-client-current-telemetry";
const ANCHOR: &str = "x-anchormailbox";
const OBJECT: &str = "9f4880d8-80ba-4c40-97bc-f7a23c703084";
const TENANT: &str = "751a212b-4003-416e-b600-e1f48e40db9f";

type HttpResult = Result<Response, TransportError>;

fn answer(status: u16, body: serde_json::Value) -> HttpResult {
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_string()))
}

fn issued_as(token_type: &str) -> HttpResult {
    answer(200, serde_json::json!({"token_type": token_type, "access_token": "t", "expires_in": 3600}))
}

fn issued() -> HttpResult {
    issued_as("Bearer")
}

/// A response with tokens of a user of Entra.
fn about_user() -> HttpResult {
    let info =
        Base64UrlUnpadded::encode_string(format!(r#"{{"uid":"{OBJECT}","utid":"{TENANT}"}}"#).as_bytes());
    answer(
        200,
        serde_json::json!({
            "token_type": "Bearer", "access_token": "t", "expires_in": 3600,
            "client_info": info, "refresh_token": "rt",
        }),
    )
}

fn application(region: RegionChoice) -> Application {
    let authority = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
    Application::new(authority, "client").unwrap().region(region)
}

fn builder_of(application: Application, transport: &ScriptedTransport) -> TokenClientBuilder {
    let credential = ClientSecret::new(application, Secret::new("secret")).unwrap();
    TokenClient::builder(credential, transport.clone())
        .retry(RetryPolicy::once())
        .context(Context::default().with_env(Env::empty()))
}

fn builder(transport: &ScriptedTransport) -> TokenClientBuilder {
    builder_of(application(RegionChoice::Global), transport)
}

fn identity() -> ClientIdentity {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let key = SharedSigningKey::new(PublicHalf::new(key.subject_public_key_info()));
    ClientIdentity::new(vec![certificate.der().clone()], key).unwrap()
}

/// Returns the values of a header of each token request.
fn header_values(transport: &ScriptedTransport, name: &str) -> Vec<Option<String>> {
    let requests = transport.requests();
    let posts = requests.iter().filter(|request| request.method() == "POST");
    let header = |value: &http::HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
    posts.map(|request| request.headers().get(name).map(header)).collect()
}

fn telemetry(transport: &ScriptedTransport) -> Vec<String> {
    header_values(transport, TELEMETRY).into_iter().map(Option::unwrap).collect()
}

#[tokio::test]
async fn tr07_tr08_caller_is_named_in_the_header() {
    let transport = ScriptedTransport::new([issued()]);
    let client = builder(&transport).build();
    let request = |id: &str, version: &str| {
        client
            .token("api")
            .query_parameter("caller-sdk-id", id, Caching::Keyed)
            .query_parameter("caller-sdk-ver", version, Caching::Keyed)
            .query_parameter("ManagedCert", "1st", Caching::Keyed)
    };
    request("TestApiId012", "1234567890123456789012345").await.unwrap();
    request("another", "1").await.unwrap();
    client.token("api").await.unwrap();
    assert_eq!(telemetry(&transport), ["5|1004,2,,,|0,0,1,TestApiId0,12345678901234567890,1"]);
    assert_eq!(transport.requests()[0].url().query(), None);
}

#[tokio::test]
async fn request_overrides_caller_sdk() {
    let transport = ScriptedTransport::new([issued(), issued(), issued()]);
    let client = builder(&transport).caller_sdk("My|SDK, naïve\r\n", "1.2.3 (beta)").build();
    client.token("a").await.unwrap();
    client.token("b").query_parameter("caller-sdk-id", "other", Caching::Unkeyed).await.unwrap();
    client.token("c").query_parameter("x", "y", Caching::Unkeyed).await.unwrap();
    assert_eq!(
        telemetry(&transport),
        [
            "5|1004,2,,,|0,0,1,MySDKnave,1.2.3(beta),",
            "5|1004,2,,,|0,0,1,other,1.2.3(beta),",
            "5|1004,2,,,|0,0,1,MySDKnave,1.2.3(beta),"
        ]
    );
    assert_eq!(transport.requests()[2].url().query(), Some("x=y"), "other parameters stay in the query");
}

#[tokio::test]
async fn tr09_header_has_the_flow() {
    let transport = ScriptedTransport::new((0..8).map(|_| about_user()));
    let client = builder(&transport).build();
    let theirs = Secret::new("theirs");
    client.token("api").await.unwrap();
    client.on_behalf_of(&theirs, "api").await.unwrap();
    client.start_session("key", &theirs, "api").await.unwrap();
    client.session_token("key", "other").await.unwrap();
    client.redeem_code(&AuthorizationCode::new(theirs.clone(), "https://app.example/"), "api").await.unwrap();
    client.redeem_refresh_token(&theirs, "api").await.unwrap();
    let account = Account::from_id(format!("{OBJECT}.{TENANT}"));
    client.token_for_account(&account, "other").await.unwrap();
    client.token_for_account(&account, "other").force_refresh().await.unwrap();
    let flows = ["1004,2", "1006,2", "1017,0", "1018,2", "1000,0", "1001,0", "1007,2", "1007,1"];
    assert_eq!(telemetry(&transport), flows.map(|flow| format!("5|{flow},,,|0,0,1,,,")));
}

/// A credential of a managed identity with a certificate.
#[derive(Debug)]
struct ManagedCredential(ManagedIdentityKind, ClientIdentity);

impl CredentialSource for ManagedCredential {
    async fn authenticate(&self, _request: &CredentialRequest<'_>) -> Result<ClientAuth, Error> {
        let endpoint = TokenEndpoint::parse("https://login.example/t/oauth2/v2.0/token").unwrap();
        let auth = ClientAuth::new("client", endpoint, Partition::machine_bound("identity"));
        Ok(auth.of_managed_identity(self.0).with_proof_of_possession(self.1.clone()))
    }

    async fn refused(&self, _used: &ClientAuth, _why: &CredentialRejection) -> bool {
        false
    }
}

#[tokio::test]
async fn tr09_header_has_kind_of_managed_identity() {
    let identity = identity();
    for (kind, expected) in [
        (ManagedIdentityKind::SystemAssigned, "5|1015,2,,,|0,0,6,,,"),
        (ManagedIdentityKind::UserAssigned, "5|1016,2,,,|0,0,6,,,"),
    ] {
        let transport = ScriptedTransport::new([issued_as("mtls_pop")]);
        let client =
            TokenClient::builder(ManagedCredential(kind, identity.clone()), transport.clone()).build();
        client.token("api").proof_of_possession().await.unwrap();
        assert_eq!(telemetry(&transport), [expected]);
    }
}

#[tokio::test]
async fn tr10_header_has_the_fetch_reason() {
    let transport = ScriptedTransport::new((0..5).map(|_| issued()));
    let manual_clock = ManualClock::new();
    let client = builder(&transport)
        .context(Context::default().with_clock(&manual_clock).with_jitter(Jitter::fixed(0.0)))
        .build();
    client.token("api").await.unwrap();
    client.token("api").force_refresh().await.unwrap();
    client.token("api").claims(r#"{"access_token":{}}"#).await.unwrap();
    manual_clock.advance(Duration::from_secs(3600));
    let token = client.token("api").await.unwrap();
    let due_in = token.refresh_on().duration_since(SharedClock::from(&manual_clock).now()).unwrap();
    manual_clock.advance(due_in + Duration::from_secs(1));
    client.token("api").await.unwrap();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(telemetry(&transport), [2, 1, 1, 3, 4].map(|reason| format!("5|1004,{reason},,,|0,0,1,,,")));
}

#[tokio::test]
async fn tr11_header_has_the_store_flag() {
    let transport = ScriptedTransport::new([issued()]);
    let clock = SharedClock::system();
    let cache = TokenCache::new(10, &Context::default().with_clock(clock.clone()))
        .with_store(MemoryStore::new(clock));
    builder(&transport).cache(cache).build().token("api").await.unwrap();
    assert_eq!(telemetry(&transport), ["5|1004,2,,,|1,0,1,,,"]);
}

#[tokio::test]
async fn header_has_region_source_and_outcome() {
    let fixed = RegionChoice::Fixed(Region::parse("westus").unwrap());
    let imds = |body: &str| answer(200, serde_json::from_str(body).unwrap());
    let none = Env::empty;
    let named = |name: &'static str, value: &'static str| [(name, value)].into_iter().collect::<Env>();
    for (region, env, before, first, second) in [
        (RegionChoice::Unset, none(), None, ",,", ",,"),
        (fixed.clone(), none(), None, "westus,0,6", "westus,0,6"),
        (RegionChoice::Unset, named("MSAL_FORCE_REGION", "eastus"), None, "eastus,0,6", "eastus,0,6"),
        (RegionChoice::Detect, named("REGION_NAME", "East US"), None, "eastus,3,4", "eastus,2,4"),
        (RegionChoice::Detect, none(), Some(imds(r#"{"location":"eastus"}"#)), "eastus,4,4", "eastus,2,4"),
        (RegionChoice::Detect, none(), Some(imds("{}")), ",1,5", ",1,5"),
        (fixed, named("MSAL_DISABLE_REGION", "1"), None, ",,", ",,"),
    ] {
        let transport = ScriptedTransport::new(before.into_iter().chain([issued(), issued(), about_user()]));
        let client = builder_of(application(region.clone()), &transport)
            .context(Context::default().with_env(env))
            .build();
        client.token("a").await.unwrap();
        client.token("b").await.unwrap();
        client.on_behalf_of(&Secret::new("theirs"), "c").await.unwrap();
        let expected = [
            format!("5|1004,2,{first}|0,0,1,,,"),
            format!("5|1004,2,{second}|0,0,1,,,"),
            "5|1006,2,,,|0,0,1,,,".to_owned(),
        ];
        assert_eq!(telemetry(&transport), expected, "{region:?}");
    }
}

#[tokio::test]
async fn only_token_requests_have_telemetry() {
    let found = answer(200, serde_json::json!({"tenant_discovery_endpoint": "https://x", "metadata": []}));
    let located = answer(200, serde_json::json!({"location": "eastus"}));
    let transport = ScriptedTransport::new([found, located, issued()]);
    let authority = Authority::parse("https://login.foo.bar/contoso.example").unwrap();
    let application = Application::new(authority, "client").unwrap().region(RegionChoice::Detect);
    builder_of(application, &transport).build().token("api").await.unwrap();
    let with: Vec<_> = transport.requests().iter().map(|it| it.headers().contains_key(TELEMETRY)).collect();
    assert_eq!(with, [false, false, true]);
}

#[tokio::test]
async fn tr17_stored_refresh_token_routes() {
    let transport = ScriptedTransport::new((0..8).map(|_| about_user()));
    let client = builder(&transport).build();
    let theirs = Secret::new("theirs");
    client.token("api").await.unwrap();
    client.on_behalf_of(&theirs, "api").await.unwrap();
    client.start_session("key", &theirs, "api").await.unwrap();
    client.redeem_code(&AuthorizationCode::new(theirs.clone(), "https://app.example/"), "api").await.unwrap();
    client.redeem_refresh_token(&theirs, "api").await.unwrap();
    assert_eq!(header_values(&transport, ANCHOR), vec![None; 5]);

    client.session_token("key", "other").await.unwrap();
    let account = Account::from_id(format!("{OBJECT}.{TENANT}"));
    client.token_for_account(&account, "other").await.unwrap();
    let expected = Some(format!("oid:{OBJECT}@{TENANT}"));
    assert_eq!(header_values(&transport, ANCHOR)[5..], [expected.clone(), expected]);
}

#[tokio::test]
async fn callers_routing_hint_is_sent() {
    let transport = ScriptedTransport::new((0..5).map(|_| about_user()));
    let client = builder(&transport).build();
    let theirs = Secret::new("theirs");
    let hint = || RoutingHint::username("user@contoso.example").unwrap();
    client.on_behalf_of(&theirs, "api").routing_hint(hint()).await.unwrap();
    client.on_behalf_of(&theirs, "api").await.unwrap();
    client
        .redeem_code(&AuthorizationCode::new(theirs.clone(), "https://app.example/"), "api")
        .routing_hint(hint())
        .await
        .unwrap();
    let account = Account::from_id(format!("{OBJECT}.{TENANT}"));
    client.token_for_account(&account, "other").routing_hint(hint()).await.unwrap();
    client.token("api").routing_hint(hint()).await.unwrap();
    let upn = Some("upn:user@contoso.example".to_owned());
    assert_eq!(header_values(&transport, ANCHOR), [upn.clone(), upn.clone(), upn, None]);
}

#[tokio::test]
async fn account_of_another_service_has_no_hint() {
    let payload = r#"{"sub":"first.last","preferred_username":"user@contoso.example"}"#;
    let id_token = format!("e30.{}.c2ln", Base64UrlUnpadded::encode_string(payload.as_bytes()));
    let about = || {
        answer(
            200,
            serde_json::json!({
                "token_type": "Bearer", "access_token": "t", "expires_in": 3600,
                "id_token": id_token, "refresh_token": "rt",
            }),
        )
    };
    let transport = ScriptedTransport::new([about(), about()]);
    let client = builder(&transport).build();
    let code = client
        .redeem_code(&AuthorizationCode::new(Secret::new("code"), "https://app.example/"), "api")
        .await
        .unwrap();
    client.token_for_account(code.account().unwrap(), "other").await.unwrap();
    assert_eq!(header_values(&transport, ANCHOR), [None, None]);
}
