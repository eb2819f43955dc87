//! Tests of a strict emulator, which refuses what was not declared.

use http::Request;
use serde_json::Value;
use symbolon_emulator::{Emulator, EmulatorBuilder, Source, Step};

use crate::client::{Client, Identity, form, get, metadata};
use crate::delegated::{MIDDLE_TIER, OTHER, builder, on_behalf_of};
use crate::fixtures::{RESOURCE, SCOPE, token_request, v1_token_request};

const UNDECLARED: &str = "https://graph.example";

async fn start(setup: EmulatorBuilder) -> Emulator {
    setup.strict().resource(RESOURCE).start().await.unwrap()
}

/// Sends a request, and returns the first AADSTS code of the error and its reason in the journal.
async fn refusal(emulator: &Emulator, client: &Client, request: Request<String>) -> (Value, Option<String>) {
    let step = if request.uri().path().ends_with("/token") { Step::Token } else { Step::Discovery };
    let body = client.send(request).await.unwrap().json();
    let reason = emulator.journal().last(step).unwrap().reason.map(str::to_owned);
    (body["error_codes"][0].clone(), reason)
}

#[tokio::test]
async fn undeclared_tenants_are_refused() {
    let emulator = start(Emulator::builder().tenant("contoso.example")).await;
    let identity = Identity::from(emulator.issue_client_certificate(emulator.application_id()).unwrap());
    let client = Client::new(&emulator, Some(&identity));
    let parameters = [
        ("grant_type", "client_credentials"),
        ("client_id", emulator.application_id()),
        ("scope", SCOPE),
        ("token_type", "mtls_pop"),
    ];
    let token_url = |tenant: &str| format!("{}/{tenant}/oauth2/v2.0/token", emulator.token_url());
    let configuration = |tenant: &str| {
        get(&format!("{}/{tenant}/v2.0/.well-known/openid-configuration", emulator.token_url()))
    };
    for tenant in [emulator.tenant_id(), "contoso.example", "Contoso.Example"] {
        let answer = client.send(form(&token_url(tenant), &parameters)).await.unwrap();
        assert_eq!(answer.status, 200, "{tenant}: {}", answer.json());
        assert_eq!(client.send(configuration(tenant)).await.unwrap().status, 200, "{tenant}");
    }
    for tenant in ["fabrikam.example", "72f988bf-86f1-41af-91ab-2d7cd011db47"] {
        let expected = (90_002.into(), Some("tenant_unknown".to_owned()));
        let request = form(&token_url(tenant), &parameters);
        assert_eq!(refusal(&emulator, &client, request).await, expected, "{tenant}");
        assert_eq!(refusal(&emulator, &client, configuration(tenant)).await, expected, "{tenant}");
    }
    // The names for any tenant have metadata.
    assert_eq!(client.send(configuration("organizations")).await.unwrap().status, 200);
}

#[tokio::test]
async fn undeclared_clients_are_refused() {
    let emulator = start(builder().client("22222222-2222-4333-8444-555555555555")).await;
    for (client_id, accepted) in [
        (emulator.client_id(), true),
        (emulator.application_id(), true),
        ("22222222-2222-4333-8444-555555555555", true),
        (MIDDLE_TIER, true),
        ("33333333-2222-4333-8444-555555555555", false),
    ] {
        let identity = Identity::from(emulator.issue_client_certificate(client_id).unwrap());
        let client = Client::new(&emulator, Some(&identity));
        let parameters = [("grant_type", "client_credentials"), ("client_id", client_id), ("scope", SCOPE)];
        let found = refusal(&emulator, &client, form(&emulator.token_endpoint(), &parameters)).await;
        let expected = match accepted {
            true => (Value::Null, None),
            false => (700_016.into(), Some("client_unknown".to_owned())),
        };
        assert_eq!(found, expected, "{client_id}");
    }
}

#[tokio::test]
async fn undeclared_resources_are_refused() {
    let emulator = start(builder()).await;
    let client = Client::new(&emulator, None);
    let expected = (500_011.into(), Some("resource_unknown".to_owned()));
    let assertion = emulator.user_token(MIDDLE_TIER).await.unwrap();
    let identity = Identity::from(emulator.issue_client_certificate(emulator.client_id()).unwrap());
    let certified = Client::new(&emulator, Some(&identity));
    for scope in ["https://graph.example/.default", "https://graph.example/User.Read", "User.Read"] {
        let request = form(&emulator.token_endpoint(), &on_behalf_of(&assertion, scope));
        assert_eq!(refusal(&emulator, &client, request).await, expected, "{scope}");
    }
    let api = format!("api://{OTHER}/read");
    for scope in [SCOPE, "https://vault.azure.net//.default", &api] {
        let request = form(&emulator.token_endpoint(), &on_behalf_of(&assertion, scope));
        assert_eq!(refusal(&emulator, &client, request).await, (Value::Null, None), "{scope}");
    }
    let mut request = token_request(&emulator, &[]);
    *request.body_mut() = request.body().replace("vault.azure.net", "graph.example");
    assert_eq!(refusal(&emulator, &certified, request).await, expected);

    assert_eq!(client.send(v1_token_request(&emulator, RESOURCE)).await.unwrap().status, 200);
    let answer = client.send(v1_token_request(&emulator, UNDECLARED)).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &"invalid_resource".into()));
}

#[tokio::test]
async fn hosts_refuse_undeclared_resources() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = start(Emulator::builder().arc_tokens(folder.path().join("tokens"))).await;
    let client = Client::new(&emulator, None);
    for (source, version, header, step) in [
        (Source::AppService, "2019-08-01", "x-identity-header", Step::AppService),
        (Source::MachineLearning, "2017-09-01", "secret", Step::MachineLearning),
        (Source::AzureArc, "2021-02-01", "x-ignored", Step::AzureArc),
    ] {
        let variables = emulator.environment_of(source);
        for (resource, reason) in [(RESOURCE, None), (UNDECLARED, Some("resource_unknown"))] {
            let mut request =
                metadata(&format!("{}?api-version={version}&resource={resource}", variables[0].1));
            request.headers_mut().insert(header, variables[1].1.parse().unwrap());
            let status = client.send(request).await.unwrap().status.as_u16();
            let found = emulator.journal().last(step).unwrap().reason;
            // Azure Arc challenges a valid request.
            let reason = if source == Source::AzureArc { reason.or(Some("challenge")) } else { reason };
            assert_eq!(found, reason, "{source} {resource}");
            assert_eq!(status == 400, resource == UNDECLARED, "{source} {resource}");
        }
    }
    let endpoint = &emulator.environment_of(Source::CloudShell)[0].1;
    for (resource, status) in [(RESOURCE, 200), (UNDECLARED, 400)] {
        let mut request = form(endpoint, &[("resource", resource)]);
        request.headers_mut().insert("metadata", "true".parse().unwrap());
        assert_eq!(client.send(request).await.unwrap().status, status, "{resource}");
    }
}

#[tokio::test]
async fn declarations_are_read_from_toml() {
    let settings = r#"
        [host]
        strict = true
        tenants = ["contoso.example"]
        clients = ["22222222-2222-4333-8444-555555555555"]
        resources = ["https://vault.azure.net"]
    "#;
    let emulator = Emulator::builder().faults_toml(settings).unwrap().start().await.unwrap();
    let client_id = "22222222-2222-4333-8444-555555555555";
    let identity = Identity::from(emulator.issue_client_certificate(client_id).unwrap());
    let client = Client::new(&emulator, Some(&identity));
    let url = format!("{}/contoso.example/oauth2/v2.0/token", emulator.token_url());
    for (scope, code) in [(SCOPE, Value::Null), ("https://graph.example/.default", 500_011.into())] {
        let parameters = [("grant_type", "client_credentials"), ("client_id", client_id), ("scope", scope)];
        assert_eq!(refusal(&emulator, &client, form(&url, &parameters)).await.0, code, "{scope}");
    }
    assert_eq!(emulator.resources(), ["https://vault.azure.net"]);
}
