//! Links that `AZURE_TOKEN_CREDENTIALS` names.

use http::StatusCode;
use symbolon::parts::transport::Response;
use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::{ChainLink, ErrorKind, TokenSource};

use crate::lab::{TOKEN, Tools, VAULT, prints_az_token, prints_azd_token};

const VARIABLE: &str = "AZURE_TOKEN_CREDENTIALS";

#[tokio::test]
async fn dev_asks_the_tools_and_nobody_else() {
    let tools = Tools::none().with("azd", &prints_azd_token());
    let transport = ScriptedTransport::new([]);
    let path = tools.path("").display().to_string();
    let env =
        [(VARIABLE, "dev"), ("PATH", &*path), ("IDENTITY_ENDPOINT", "http://x"), ("IDENTITY_HEADER", "x")];
    let chain = tools
        .chain()
        .context(tools.context().with_env(env.into_iter().collect()))
        .transport(transport.clone())
        .named_by_environment()
        .build()
        .unwrap();
    assert_eq!(chain.links(), [ChainLink::AzureCli, ChainLink::AzureDeveloperCli]);
    assert_eq!(chain.token(VAULT).await.unwrap().secret().expose(), TOKEN);
    assert!(transport.requests().is_empty());
}

#[tokio::test]
async fn prod_asks_the_managed_identity_of_the_client_id_and_no_tool() {
    let tools = Tools::az(&prints_az_token());
    let body = r#"{"access_token":"t","expires_in":"3600"}"#;
    let transport = ScriptedTransport::new([Ok(Response::new(StatusCode::OK, body))]);
    let env = tools.env_with(&[
        (VARIABLE, "prod"),
        ("IDENTITY_ENDPOINT", "http://localhost:1/msi"),
        ("IDENTITY_HEADER", "x"),
        ("AZURE_CLIENT_ID", "751a212b-4003-416e-b600-e1f48e40db9f"),
    ]);
    let chain = tools
        .chain()
        .context(tools.context().with_env(env))
        .transport(transport.clone())
        .named_by_environment()
        .build()
        .unwrap();
    assert_eq!(chain.links(), [ChainLink::WorkloadIdentity, ChainLink::ManagedIdentity]);
    let token = chain.token(VAULT).await.unwrap();
    let url = transport.requests()[0].url().to_string();
    assert!(url.ends_with("client_id=751a212b-4003-416e-b600-e1f48e40db9f"), "{url}");
    assert_eq!(chain.token(VAULT).await.unwrap().source(), TokenSource::Cache);
    assert!(chain.invalidate(&token));
    assert_eq!(tools.calls("az"), [""; 0]);
}

#[test]
fn a_variable_that_names_nothing_is_an_error_when_the_chain_is_built() {
    let tools = Tools::none();
    for env in [tools.env(), tools.env_with(&[(VARIABLE, "VisualStudioCredential")])] {
        let error =
            tools.chain().context(tools.context().with_env(env)).named_by_environment().build().unwrap_err();
        assert_eq!((error.code(), error.kind()), ("invalid_configuration", ErrorKind::Request));
    }
}
