//! What each token request tells Entra beside its form, over a scripted transport.

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

type Answer = Result<Response, TransportError>;

fn answer(status: u16, body: serde_json::Value) -> Answer {
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body.to_string()))
}

fn granted_as(token_type: &str) -> Answer {
    answer(200, serde_json::json!({"token_type": token_type, "access_token": "t", "expires_in": 3600}))
}

fn granted() -> Answer {
    granted_as("Bearer")
}

/// A token about a user of Entra, with a refresh token.
fn about_user() -> Answer {
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

/// A header of each request to the token service.
fn told(transport: &ScriptedTransport, name: &str) -> Vec<Option<String>> {
    let requests = transport.requests();
    let posts = requests.iter().filter(|request| request.method() == "POST");
    let header = |value: &http::HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
    posts.map(|request| request.headers().get(name).map(header)).collect()
}

fn telemetry(transport: &ScriptedTransport) -> Vec<String> {
    told(transport, TELEMETRY).into_iter().map(Option::unwrap).collect()
}

#[tokio::test]
async fn tr07_tr08_what_the_caller_tells_of_itself_is_cut_and_is_no_part_of_the_url_or_the_key() {
    let transport = ScriptedTransport::new([granted()]);
    let client = builder(&transport).build();
    let ask = |id: &str, version: &str| {
        client
            .token("api")
            .query_parameter("caller-sdk-id", id, Caching::Keyed)
            .query_parameter("caller-sdk-ver", version, Caching::Keyed)
            .query_parameter("ManagedCert", "1st", Caching::Keyed)
    };
    ask("TestApiId012", "1234567890123456789012345").await.unwrap();
    ask("another", "1").await.unwrap();
    client.token("api").await.unwrap();
    assert_eq!(telemetry(&transport), ["5|1004,2,,,|0,0,1,TestApiId0,12345678901234567890,1"]);
    assert_eq!(transport.requests()[0].url().query(), None);
}

#[tokio::test]
async fn a_library_names_itself_once_and_a_request_may_name_another() {
    let transport = ScriptedTransport::new([granted(), granted(), granted()]);
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
    assert_eq!(transport.requests()[2].url().query(), Some("x=y"), "another parameter stays one");
}

#[tokio::test]
async fn tr09_each_flow_says_which_it_is() {
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

/// The certificate of a managed identity.
#[derive(Debug)]
struct Minted(ManagedIdentityKind, ClientIdentity);

impl CredentialSource for Minted {
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
async fn tr09_a_managed_identity_says_which_kind_it_is_and_a_bound_token_that_it_is_bound() {
    let identity = identity();
    for (kind, expected) in [
        (ManagedIdentityKind::SystemAssigned, "5|1015,2,,,|0,0,6,,,"),
        (ManagedIdentityKind::UserAssigned, "5|1016,2,,,|0,0,6,,,"),
    ] {
        let transport = ScriptedTransport::new([granted_as("mtls_pop")]);
        let client = TokenClient::builder(Minted(kind, identity.clone()), transport.clone()).build();
        client.token("api").proof_of_possession().await.unwrap();
        assert_eq!(telemetry(&transport), [expected]);
    }
}

#[tokio::test]
async fn tr10_a_request_says_why_the_cached_token_did_not_do() {
    let transport = ScriptedTransport::new((0..5).map(|_| granted()));
    let hands = ManualClock::new();
    let client = builder(&transport)
        .context(Context::default().with_clock(&hands).with_jitter(Jitter::fixed(0.0)))
        .build();
    client.token("api").await.unwrap();
    client.token("api").force_refresh().await.unwrap();
    client.token("api").claims(r#"{"access_token":{}}"#).await.unwrap();
    hands.advance(Duration::from_secs(3600));
    let token = client.token("api").await.unwrap();
    let due_in = token.refresh_on().duration_since(SharedClock::from(&hands).now()).unwrap();
    hands.advance(due_in + Duration::from_secs(1));
    client.token("api").await.unwrap();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(telemetry(&transport), [2, 1, 1, 3, 4].map(|why| format!("5|1004,{why},,,|0,0,1,,,")));
}

#[tokio::test]
async fn tr11_a_store_behind_the_cache_is_told() {
    let transport = ScriptedTransport::new([granted()]);
    let clock = SharedClock::system();
    let cache = TokenCache::new(10, &Context::default().with_clock(clock.clone()))
        .with_store(MemoryStore::new(clock));
    builder(&transport).cache(cache).build().token("api").await.unwrap();
    assert_eq!(telemetry(&transport), ["5|1004,2,,,|1,0,1,,,"]);
}

#[tokio::test]
async fn the_region_is_told_with_where_it_was_found_and_what_came_of_it() {
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
        let transport =
            ScriptedTransport::new(before.into_iter().chain([granted(), granted(), about_user()]));
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
async fn only_token_requests_are_accompanied_by_telemetry() {
    let found = answer(200, serde_json::json!({"tenant_discovery_endpoint": "https://x", "metadata": []}));
    let located = answer(200, serde_json::json!({"location": "eastus"}));
    let transport = ScriptedTransport::new([found, located, granted()]);
    let authority = Authority::parse("https://login.foo.bar/contoso.example").unwrap();
    let application = Application::new(authority, "client").unwrap().region(RegionChoice::Detect);
    builder_of(application, &transport).build().token("api").await.unwrap();
    let with: Vec<_> = transport.requests().iter().map(|it| it.headers().contains_key(TELEMETRY)).collect();
    assert_eq!(with, [false, false, true]);
}

#[tokio::test]
async fn tr17_only_a_refresh_token_that_is_kept_says_where_its_user_is() {
    let transport = ScriptedTransport::new((0..8).map(|_| about_user()));
    let client = builder(&transport).build();
    let theirs = Secret::new("theirs");
    client.token("api").await.unwrap();
    client.on_behalf_of(&theirs, "api").await.unwrap();
    client.start_session("key", &theirs, "api").await.unwrap();
    client.redeem_code(&AuthorizationCode::new(theirs.clone(), "https://app.example/"), "api").await.unwrap();
    client.redeem_refresh_token(&theirs, "api").await.unwrap();
    assert_eq!(told(&transport, ANCHOR), vec![None; 5]);

    client.session_token("key", "other").await.unwrap();
    let account = Account::from_id(format!("{OBJECT}.{TENANT}"));
    client.token_for_account(&account, "other").await.unwrap();
    let expected = Some(format!("oid:{OBJECT}@{TENANT}"));
    assert_eq!(told(&transport, ANCHOR)[5..], [expected.clone(), expected]);
}

#[tokio::test]
async fn what_the_caller_knows_of_the_user_is_told_instead_and_splits_no_cache() {
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
    assert_eq!(told(&transport, ANCHOR), [upn.clone(), upn.clone(), upn, None]);
}

#[tokio::test]
async fn an_account_of_another_service_is_sent_nowhere() {
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
    assert_eq!(told(&transport, ANCHOR), [None, None]);
}
