//! REQ, ROUTE, IDP: the host of a request, observed at the transport.

use crate::test_env::TestEnv;
use http::StatusCode;
use symbolon::{ClientIdentity, Context, Error};
use symbolon_token::authority::{Authority, Region, RegionChoice};
use symbolon_token::{Application, ClientCertificate, TokenClient};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Request, Response, RetryPolicy};

const TENANT: &str = "751a212b-4003-416e-b600-e1f48e40db9f";
const CLIENT: &str = "d3adb33f-c0de-ed0c-c0de-deadb33fc0d3";

/// A token request and its authority.
struct TestRequest<'a> {
    authority: &'a str,
    region: RegionChoice,
    tenant: Option<&'a str>,
    is_bound: bool,
    env: &'a [(&'a str, &'a str)],
    /// Responses of other services before that of the token service.
    before: Vec<Response>,
}

impl Default for TestRequest<'_> {
    fn default() -> Self {
        Self {
            authority: "https://login.microsoftonline.com/contoso.example",
            region: RegionChoice::Unset,
            tenant: None,
            is_bound: true,
            env: &[],
            before: Vec::new(),
        }
    }
}

/// The requests that were sent, or the error before the first.
async fn sent_requests(identity: &ClientIdentity, case: TestRequest<'_>) -> Result<Vec<Request>, Error> {
    let token_type = if case.is_bound { "mtls_pop" } else { "Bearer" };
    let body = format!(r#"{{"token_type":"{token_type}","access_token":"opaque","expires_in":3600}}"#);
    let answers = case.before.into_iter().chain([Response::new(StatusCode::OK, body)]).map(Ok);
    let transport = ScriptedTransport::new(answers);
    let application = Application::new(Authority::parse(case.authority)?, CLIENT)?.region(case.region);
    let credential = ClientCertificate::new(application, identity.clone())?;
    let client = TokenClient::builder(credential, transport.clone())
        .retry(RetryPolicy::once())
        .context(Context::default().with_env(case.env.iter().copied().collect()))
        .build();
    let mut request = client.token_for_resource("https://vault.azure.net");
    if case.is_bound {
        request = request.proof_of_possession();
    }
    if let Some(tenant) = case.tenant {
        request = request.tenant(tenant);
    }
    let outcome = request.await;
    let requests = transport.requests();
    match outcome {
        Ok(_) => Ok(requests),
        Err(error) if requests.is_empty() => Err(error),
        Err(error) => panic!("{error} after {requests:?}"),
    }
}

async fn url(identity: &ClientIdentity, case: TestRequest<'_>) -> Result<String, String> {
    let sent = sent_requests(identity, case).await.map_err(|error| error.code().to_owned())?;
    Ok(sent.last().unwrap().url().to_string())
}

fn form(request: &Request) -> Vec<(String, String)> {
    url::form_urlencoded::parse(request.body()).into_owned().collect()
}

async fn certificate() -> ClientIdentity {
    TestEnv::new().await.certificate()
}

fn fixed(region: &str) -> RegionChoice {
    RegionChoice::Fixed(Region::parse(region).unwrap())
}

#[tokio::test]
async fn req_01_global_mtls_host_without_region() {
    let certificate = certificate().await;
    let sent = sent_requests(&certificate, TestRequest::default()).await.unwrap();
    let [request] = &sent[..] else { panic!("known clouds need no other request: {sent:?}") };
    assert_eq!(request.method(), http::Method::POST);
    assert_eq!(request.url().as_str(), "https://mtlsauth.microsoft.com/contoso.example/oauth2/v2.0/token");
    assert_eq!(request.identity(), Some(&certificate));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        form(request),
        [
            pair("client_id", CLIENT),
            pair("scope", "https://vault.azure.net/.default"),
            pair("grant_type", "client_credentials"),
            pair("token_type", "mtls_pop"),
        ]
    );
}

#[tokio::test]
async fn req_02_region_is_in_the_host() {
    let certificate = certificate().await;
    let global = sent_requests(&certificate, TestRequest::default()).await.unwrap();
    let regional =
        sent_requests(&certificate, TestRequest { region: fixed("westus3"), ..TestRequest::default() })
            .await
            .unwrap();
    assert_eq!(
        regional[0].url().as_str(),
        "https://westus3.mtlsauth.microsoft.com/contoso.example/oauth2/v2.0/token"
    );
    assert_eq!(form(&regional[0]), form(&global[0]));
}

#[tokio::test]
async fn route_01_a_tenant_is_an_id_or_a_domain() {
    let certificate = certificate().await;
    for tenant in [TENANT, "contoso.example"] {
        let authority = format!("https://login.microsoftonline.com/{tenant}");
        let expected = format!("https://mtlsauth.microsoft.com/{tenant}/oauth2/v2.0/token");
        assert_eq!(
            url(&certificate, TestRequest { authority: &authority, ..TestRequest::default() }).await,
            Ok(expected)
        );
    }
}

#[tokio::test]
async fn route_02_explicit_region_is_used() {
    let certificate = certificate().await;
    for (is_bound, host) in [(true, "westus3.mtlsauth.microsoft.com"), (false, "westus3.login.microsoft.com")]
    {
        let case = TestRequest { region: fixed("westus3"), is_bound, ..TestRequest::default() };
        let expected = format!("https://{host}/contoso.example/oauth2/v2.0/token");
        assert_eq!(url(&certificate, case).await, Ok(expected));
    }
}

#[tokio::test]
async fn route_03_to_04_region_is_detected_or_global() {
    let certificate = certificate().await;
    let imds = |status, body: &'static str| vec![Response::new(StatusCode::from_u16(status).unwrap(), body)];
    for (env, before, host) in [
        (&[("REGION_NAME", "West US 3")][..], vec![], "westus3.mtlsauth.microsoft.com"),
        (&[], imds(200, r#"{"location":"centralus"}"#), "centralus.mtlsauth.microsoft.com"),
        (&[], imds(404, ""), "mtlsauth.microsoft.com"),
        (&[], imds(200, r#"{"location":"evil.example/"}"#), "mtlsauth.microsoft.com"),
    ] {
        let case = TestRequest { region: RegionChoice::Detect, env, before, ..TestRequest::default() };
        let expected = format!("https://{host}/contoso.example/oauth2/v2.0/token");
        assert_eq!(url(&certificate, case).await, Ok(expected), "{env:?}");
    }
}

#[test]
fn route_05_a_malformed_region_never_enters_a_host_name() {
    for region in ["", "west us", "evil.example", "a/b", "a@b", "-west", "west-", "wést"] {
        assert_eq!(Region::parse(region).unwrap_err().code(), "invalid_region", "{region}");
    }
}

#[tokio::test]
async fn route_06_to_08_tenantless_authorities() {
    let certificate = certificate().await;
    for (tenant, expected) in [
        ("common", Err("missing_tenanted_authority".to_owned())),
        ("organizations", Err("missing_tenanted_authority".to_owned())),
        ("consumers", Ok("https://mtlsauth.microsoft.com/consumers/oauth2/v2.0/token".to_owned())),
    ] {
        let authority = format!("https://login.microsoftonline.com/{tenant}");
        assert_eq!(
            url(&certificate, TestRequest { authority: &authority, ..TestRequest::default() }).await,
            expected
        );
    }
}

#[tokio::test]
async fn route_09_tenant_is_in_path_and_cache_key() {
    let certificate = certificate().await;
    let case = TestRequest { tenant: Some("fabrikam.example"), ..TestRequest::default() };
    let expected = "https://mtlsauth.microsoft.com/fabrikam.example/oauth2/v2.0/token";
    assert_eq!(url(&certificate, case).await.as_deref(), Ok(expected));

    let test_env = TestEnv::new().await;
    let client = test_env.certificate_client(test_env.certificate());
    let own = test_env.keep(client.token_for_resource("https://vault.example").await.unwrap());
    let foreign = client.token_for_resource("https://vault.example").tenant("fabrikam.example").await;
    let foreign = test_env.keep(foreign.unwrap());
    assert_ne!(foreign.secret().expose(), own.secret().expose());
    let named =
        client.token_for_resource("https://vault.example").tenant(test_env.emulator.tenant_id()).await;
    assert_eq!(named.unwrap().secret().expose(), own.secret().expose(), "its own tenant is the same entry");
}

#[tokio::test]
async fn route_10_to_17_clouds_have_mtls_hosts() {
    let certificate = certificate().await;
    let unsupported = || Err("mtls_pop_not_supported_for_environment".to_owned());
    let on = |host: &str| Ok(format!("https://{host}/t.example/oauth2/v2.0/token"));
    for (host, expected) in [
        ("login.microsoftonline.com", on("mtlsauth.microsoft.com")),
        ("login.windows.net", on("mtlsauth.microsoft.com")),
        ("login.microsoft.com", on("mtlsauth.microsoft.com")),
        ("login.microsoftonline.us", on("mtlsauth.microsoftonline.us")),
        ("login.partner.microsoftonline.cn", on("mtlsauth.partner.microsoftonline.cn")),
        ("login.sovcloud-identity.fr", on("mtlsauth.sovcloud-identity.fr")),
        ("login.sovcloud-identity.de", on("mtlsauth.sovcloud-identity.de")),
        ("login.sovcloud-identity.sg", on("mtlsauth.sovcloud-identity.sg")),
        ("login.usgovcloudapi.net", unsupported()),
        ("login.chinacloudapi.cn", unsupported()),
        ("sts.windows.net", unsupported()),
        ("login-us.microsoftonline.com", unsupported()),
        ("login.evil.example", unsupported()),
        ("graph.microsoft.com", unsupported()),
    ] {
        let authority = format!("https://{host}/t.example");
        assert_eq!(
            url(&certificate, TestRequest { authority: &authority, ..TestRequest::default() }).await,
            expected,
            "{host}"
        );
    }
}

#[tokio::test]
async fn route_18_what_is_no_https_authority_is_refused() {
    let certificate = certificate().await;
    for authority in
        ["http://login.microsoftonline.com/t.example", "https://login.microsoftonline.com", "not a url"]
    {
        let refused = url(&certificate, TestRequest { authority, ..TestRequest::default() }).await;
        assert_eq!(refused, Err("invalid_authority".to_owned()), "{authority}");
    }
}

#[tokio::test]
async fn idp_01_to_02_dsts_keeps_its_host_and_has_its_own_path() {
    let certificate = certificate().await;
    let authority = "https://dsts.example/dstsv2/7a433bfc-2514-4697-b467-e0933190487f";
    for is_bound in [true, false] {
        let sent = url(&certificate, TestRequest { authority, is_bound, ..TestRequest::default() }).await;
        assert_eq!(sent, Ok(format!("{authority}/oauth2/v2.0/token")));
    }
}

#[tokio::test]
async fn idp_03_dsts_without_a_tenant_is_refused() {
    let certificate = certificate().await;
    for authority in ["https://dsts.example/dstsv2", "https://dsts.example/dstsv2/common"] {
        assert!(
            url(&certificate, TestRequest { authority, ..TestRequest::default() }).await.is_err(),
            "{authority}"
        );
    }
}
