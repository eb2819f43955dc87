//! Bound tokens, which only the managed identity has.

use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::{
    AzureCli, ChainLink, Context, CredentialChain, Downgrade, Env, ErrorKind, HyperTransport, ManagedIdentity,
};
use symbolon_emulator::{Emulator, Source};

use crate::tool_folder::{ToolFolder, VAULT, prints_az_token};

const UNSUPPORTED: &str = "mtls_pop_not_supported_for_environment";

fn identity(emulator: &Emulator, host: Source, downgrade: Downgrade) -> ManagedIdentity {
    let transport =
        HyperTransport::builder().context(Context::default().with_env(Env::empty())).platform_roots(false);
    let transport = transport.root_certificates_pem(emulator.ca_pem().as_bytes()).build().unwrap();
    let env: Env = emulator.environment_of(host).into_iter().collect();
    ManagedIdentity::builder()
        .context(Context::default().with_env(env))
        .transport(transport)
        .downgrade(downgrade)
        .build()
        .unwrap()
}

fn tool_in_front(tools: &ToolFolder, emulator: &Emulator) -> CredentialChain {
    let identity = identity(emulator, Source::Imds, Downgrade::Never);
    tools.chain().azure_cli(AzureCli::new()).managed_identity(identity).build().unwrap()
}

#[tokio::test]
async fn bound_request_skips_tools() {
    let emulator = Emulator::start().await.unwrap();
    let tools = ToolFolder::az(&prints_az_token());
    let chain = tool_in_front(&tools, &emulator);
    let token = chain.token(VAULT).proof_of_possession().await.unwrap();
    assert!(token.bound_to().is_some());
    assert_eq!(chain.chosen(), Some(ChainLink::ManagedIdentity));
    assert!(chain.skipped()[0].reason.contains("its tokens cannot be bound to a key"));
    let request = http::Request::get(emulator.resource_url()).body(bytes::Bytes::new()).unwrap();
    assert_eq!(chain.call(&token, request).await.unwrap().status(), 200);
    // The choice also applies to bearer tokens.
    assert_eq!(chain.token(VAULT).await.unwrap().token_type(), "Bearer");
    assert_eq!(tools.calls("az"), [""; 0]);
}

#[tokio::test]
async fn bound_request_keeps_the_chosen_link() {
    let emulator = Emulator::start().await.unwrap();
    let tools = ToolFolder::az(&prints_az_token());
    let chain = tool_in_front(&tools, &emulator);
    chain.token(VAULT).await.unwrap();
    let error = chain.token(VAULT).proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), (UNSUPPORTED, ErrorKind::Environment));
    assert!(error.to_string().starts_with("Azure CLI: its tokens cannot be bound"), "{error}");
    assert_eq!(emulator.journal().steps(), []);
}

#[tokio::test]
async fn bound_request_fails_at_workload_identity() {
    let tools = ToolFolder::none();
    let emulator = Emulator::start().await.unwrap();
    let variables = [
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_TENANT_ID", "contoso.example"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere"),
    ];
    let chain = tools
        .chain()
        .context(tools.context().with_env(tools.env_with(&variables)))
        .workload_identity()
        .managed_identity(identity(&emulator, Source::Imds, Downgrade::Never))
        .build()
        .unwrap();
    let error = chain.token(VAULT).proof_of_possession().await.unwrap_err();
    assert_eq!(error.code(), UNSUPPORTED);
    assert!(error.to_string().starts_with("workload identity: "), "{error}");
    assert_eq!(emulator.journal().steps(), []);
}

#[tokio::test]
async fn chain_ignores_the_downgrade_policy() {
    let emulator = Emulator::start().await.unwrap();
    for policy in [Downgrade::Never, Downgrade::ToBearerWhereUnsupported] {
        let identity = identity(&emulator, Source::AppService, policy);
        let chain = ToolFolder::none().chain().managed_identity(identity).build().unwrap();
        let error = chain.token(VAULT).proof_of_possession().await.unwrap_err();
        assert_eq!((error.code(), error.kind()), (UNSUPPORTED, ErrorKind::Environment), "{policy:?}");
        assert_eq!((chain.chosen(), &emulator.journal().steps()[..]), (None, &[][..]));
    }
}

#[tokio::test]
async fn each_link_has_a_reason_not_to_bind() {
    let tools = ToolFolder::az(&prints_az_token());
    let nowhere = ManagedIdentity::builder()
        .context(Context::default().with_env(Env::empty()))
        .transport(ScriptedTransport::new([]));
    let chain: CredentialChain =
        tools.chain().managed_identity(nowhere.build().unwrap()).azure_cli(AzureCli::new()).build().unwrap();
    let error = chain.token(VAULT).proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("no_credential_available", ErrorKind::Environment));
    assert!(error.to_string().contains("there is no metadata service"), "{error}");
    assert!(error.to_string().contains("[Azure CLI: its tokens cannot be bound to a key"), "{error}");
    assert_eq!(tools.calls("az"), [""; 0]);
}
