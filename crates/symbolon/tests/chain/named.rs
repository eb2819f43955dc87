//! Links that `AZURE_TOKEN_CREDENTIALS` names.

use http::StatusCode;
use symbolon::parts::transport::Response;
use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::{ChainLink, ErrorKind, TokenOrigin};

use crate::tool_folder::{TOKEN, ToolFolder, VAULT, prints_az_token, prints_azd_token};

const VARIABLE: &str = "AZURE_TOKEN_CREDENTIALS";

#[tokio::test]
async fn dev_names_the_tools() {
    let tools = ToolFolder::none().with("azd", &prints_azd_token());
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
async fn prod_names_the_identity_of_the_client_id() {
    let tools = ToolFolder::az(&prints_az_token());
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
    assert_eq!(chain.token(VAULT).await.unwrap().origin(), TokenOrigin::Cache);
    assert!(chain.invalidate(&token));
    assert_eq!(tools.calls("az"), [""; 0]);
}

#[test]
fn unsupported_variable_fails_the_build() {
    let tools = ToolFolder::none();
    for env in [tools.env(), tools.env_with(&[(VARIABLE, "VisualStudioCredential")])] {
        let error =
            tools.chain().context(tools.context().with_env(env)).named_by_environment().build().unwrap_err();
        assert_eq!((error.code(), error.kind()), ("invalid_configuration", ErrorKind::Request));
    }
}

/// The variable is copied from a file in which its value is in quotes.
#[test]
fn copied_client_id_fails_the_build() {
    let tools = ToolFolder::none();
    let env = tools.env_with(&[(VARIABLE, "ManagedIdentityCredential"), ("AZURE_CLIENT_ID", "\"751a212b\"")]);
    let error =
        tools.chain().context(tools.context().with_env(env)).named_by_environment().build().unwrap_err();
    assert_eq!((error.code(), error.kind()), ("invalid_managed_identity_id", ErrorKind::Request));
    assert!(error.to_string().starts_with("AZURE_CLIENT_ID: the client id"), "{error}");
    assert!(error.to_string().contains("is in quotes"), "{error}");
}
