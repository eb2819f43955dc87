//! Links: choice, skipping and failures.

use std::time::Duration;

use futures_util::FutureExt;
use http::header::SERVER;
use http::{HeaderValue, StatusCode};
use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::parts::transport::{Request, Response, TransportError, transport_fn};
use symbolon::{
    AzureCli, AzureDeveloperCli, ChainLink, Context, CredentialChain, Env, ErrorKind, HyperTransport,
    ManagedIdentity, SharedClock,
};
use symbolon_emulator::{Emulator, Fault, Source, Step};

use crate::tool_folder::{AZ_LOGGED_OUT, TOKEN, ToolFolder, VAULT, clock, prints_az_token, prints_azd_token};

fn answer(status: u16, body: &'static str) -> Result<Response, TransportError> {
    answer_of(None, status, body)
}

/// A response with this `Server` header.
fn answer_of(
    server: Option<&'static str>,
    status: u16,
    body: &'static str,
) -> Result<Response, TransportError> {
    let headers = server.map(|server| (SERVER, HeaderValue::from_static(server))).into_iter().collect();
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body).with_headers(headers))
}

/// Builds a chain with every link.
fn full_chain(tools: &ToolFolder, env: &Env, identity: ManagedIdentity) -> CredentialChain {
    tools
        .chain()
        .context(tools.context().with_env(env.clone()))
        .workload_identity()
        .managed_identity(identity)
        .azure_cli(AzureCli::new())
        .azure_developer_cli(AzureDeveloperCli::new())
        .build()
        .unwrap()
}

/// Builds a managed identity in an environment that names no source.
fn unnamed_identity(transport: ScriptedTransport) -> ManagedIdentity {
    let context = Context::default().with_env(Env::empty()).with_clock(&clock()).with_retry_scale(0.0);
    ManagedIdentity::builder().context(context).transport(transport).build().unwrap()
}

/// Builds a managed identity on this host, and a transport for the chain.
fn identity_on(emulator: &Emulator, host: Source) -> (ManagedIdentity, HyperTransport) {
    let transport =
        HyperTransport::builder().context(Context::default().with_env(Env::empty())).platform_roots(false);
    let transport = transport.root_certificates_pem(emulator.ca_pem().as_bytes()).build().unwrap();
    let env: Env = emulator.environment_of(host).into_iter().collect();
    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(env).with_retry_scale(0.0))
        .transport(transport.clone());
    (identity.build().unwrap(), transport)
}

/// All links are skipped within a second and a half.
#[test]
fn host_without_credentials_fails_quickly() {
    let tools = ToolFolder::none();
    let manual_clock = clock();
    // No response ever, as if a firewall dropped packets to the metadata service.
    let silent = transport_fn(|_: Request| std::future::pending::<Result<Response, TransportError>>());
    let context = Context::default().with_env(Env::empty()).with_clock(&manual_clock);
    let identity = ManagedIdentity::builder().context(context).transport(silent).build().unwrap();
    let only = [("PATH", tools.path("").display().to_string())].into_iter().collect();
    let chain = full_chain(&tools, &only, identity);
    let began = SharedClock::from(&manual_clock).now();
    let mut future = chain.token(VAULT).into_future();
    let error = loop {
        match (&mut future).now_or_never() {
            Some(result) => break result.unwrap_err(),
            // Either a sleeper of the clock wakes, or a thread of a tool needs more time.
            None => drop(manual_clock.advance_to_next()),
        }
    };
    let took = SharedClock::from(&manual_clock).now().duration_since(began).unwrap();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert_eq!((error.code(), error.kind()), ("no_credential_available", ErrorKind::Environment));
    assert!(error.correlation_id().is_some());
    for reason in [
        "[workload identity: this host has no workload identity: AZURE_FEDERATED_TOKEN_FILE is not set",
        "[managed identity: nothing names another source, and there is no metadata service (version 2: did not answer in time)",
        "[Azure CLI: `az` is not in the absolute folders of PATH",
        "[Azure Developer CLI: `azd` is not in the absolute folders of PATH",
    ] {
        assert!(error.to_string().contains(reason), "{error}");
    }
    let skipped: Vec<ChainLink> = chain.skipped().iter().map(|skipped| skipped.link).collect();
    assert_eq!((skipped, chain.chosen()), (chain.links(), None));
}

#[tokio::test]
async fn first_link_with_a_token_is_chosen() {
    let tools = ToolFolder::none().with("az", AZ_LOGGED_OUT).with("azd", &prints_azd_token());
    let transport = ScriptedTransport::new([]);
    let chain = full_chain(&tools, &tools.env(), unnamed_identity(transport.clone()));
    assert_eq!(chain.token(VAULT).await.unwrap().secret().expose(), TOKEN);
    assert_eq!(chain.chosen(), Some(ChainLink::AzureDeveloperCli));
    let skipped = chain.skipped();
    assert_eq!(skipped.len(), 3);
    assert!(skipped[2].reason.contains("no user is logged in to the Azure CLI"), "{skipped:?}");
    let probes = transport.requests().len();
    chain.token("https://management.azure.com").await.unwrap();
    assert_eq!((tools.calls("az").len(), tools.calls("azd").len()), (1, 2));
    assert_eq!(transport.requests().len(), probes);

    // After the choice, a missing login is an error: the other links are other identities.
    let tools = tools.with("azd", crate::tool_folder::AZD_LOGGED_OUT).with("az", &prints_az_token());
    let error = chain.token(VAULT).force_refresh().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("azure_developer_cli_unavailable", ErrorKind::Environment));
    assert!(error.to_string().starts_with("Azure Developer CLI: no user is logged in"), "{error}");
    assert_eq!(tools.calls("az").len(), 1);
    // The token that it has stays good.
    assert_eq!(chain.token(VAULT).await.unwrap().secret().expose(), TOKEN);
}

#[tokio::test]
async fn failure_of_a_named_source_is_not_skipped() {
    let emulator = Emulator::start().await.unwrap();
    for (host, step) in [(Source::AppService, Step::AppService), (Source::Imds, Step::ImdsToken)] {
        let tools = ToolFolder::az(&prints_az_token());
        emulator.inject(Fault::status(step, 400).body(r#"{"error":"invalid_request"}"#));
        let (identity, _) = identity_on(&emulator, host);
        let chain = full_chain(&tools, &tools.env(), identity);
        let error = chain.token(VAULT).await.unwrap_err();
        assert_eq!((error.code(), error.status()), ("managed_identity_request_failed", Some(400)), "{error}");
        assert!(error.to_string().starts_with("managed identity: "), "{error}");
        assert_eq!((tools.calls("az"), chain.chosen()), (vec![], None));
        // It ends nothing. A refusal is followed by a pause, which this request skips.
        chain.token(VAULT).force_refresh().await.unwrap();
        assert_eq!(chain.chosen(), Some(ChainLink::ManagedIdentity));
    }
    // A named source that does not respond.
    let named: Env = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")].into_iter().collect();
    let tools = ToolFolder::az(&prints_az_token());
    let transport = ScriptedTransport::new([]);
    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(named).with_retry_scale(0.0))
        .transport(transport.clone());
    let chain = full_chain(&tools, &tools.env(), identity.build().unwrap());
    let error = chain.token(VAULT).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("managed_identity_unreachable", ErrorKind::Network));
    assert_eq!(transport.requests().len(), 4, "all attempts");
}

#[tokio::test]
async fn imds_is_retried_after_its_probe() {
    let tools = ToolFolder::az(&prints_az_token());
    let mut answers = vec![answer_of(Some("IMDS/150.870.65.1854"), 400, "")];
    answers.extend((0..3).map(|_| answer(503, "")));
    answers.push(answer(200, r#"{"access_token":"t","expires_in":"3600"}"#));
    let transport = ScriptedTransport::new(answers);
    let chain = full_chain(&tools, &tools.env(), unnamed_identity(transport.clone()));
    assert_eq!(chain.token(VAULT).await.unwrap().secret().expose(), "t");
    assert_eq!(chain.chosen(), Some(ChainLink::ManagedIdentity));
    let with_header = |request: &Request| request.headers().contains_key("metadata");
    let headers: Vec<bool> = transport.requests().iter().map(with_header).collect();
    assert_eq!(headers, [false, true, true, true, true], "one probe, then four requests");
    assert_eq!(tools.calls("az"), [""; 0]);
}

/// A proxy that intercepts the address refuses the probe as well, but not as the metadata service.
#[tokio::test]
async fn another_server_is_no_metadata_service() {
    for server in [None, Some("squid/6.1"), Some("nginx"), Some("I_MDS/1")] {
        let tools = ToolFolder::az(&prints_az_token());
        let transport = ScriptedTransport::new([answer_of(server, 400, ""), answer_of(server, 400, "")]);
        let chain = full_chain(&tools, &tools.env(), unnamed_identity(transport.clone()));
        assert_eq!(chain.token(VAULT).await.unwrap().secret().expose(), TOKEN);
        assert_eq!(chain.chosen(), Some(ChainLink::AzureCli));
        let reason = &chain.skipped()[1].reason;
        let shown = server.map_or("no Server header".to_owned(), |server| format!("Server: {server}"));
        assert!(reason.contains("something other than the metadata service responded"), "{reason}");
        assert!(reason.contains(&format!("another server answered with status 400 ({shown})")), "{reason}");
    }
}

/// A virtual machine without an identity ends the chain, unless the program chose to skip it.
#[tokio::test]
async fn missing_identity_is_skipped_by_option() {
    let emulator = Emulator::start().await.unwrap();
    let missing = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
    let several = r#"{"error":"invalid_request","error_description":"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"}"#;
    for (host, step) in [(Source::Imds, Step::ImdsToken), (Source::AppService, Step::AppService)] {
        for (body, skips, chosen) in [
            (missing, false, None),
            (missing, true, Some(ChainLink::AzureCli)),
            (several, true, None),
            (r#"{"error":"invalid_resource"}"#, true, None),
        ] {
            let tools = ToolFolder::az(&prints_az_token());
            emulator.inject(Fault::status(step, 400).body(body));
            let (identity, _) = identity_on(&emulator, host);
            let chain = tools.chain().managed_identity(identity).azure_cli(AzureCli::new());
            let chain = if skips { chain.skip_missing_identity() } else { chain };
            let chain = chain.build().unwrap();
            let result = chain.token(VAULT).await;
            assert_eq!(chain.chosen(), chosen, "{host} {body}");
            match result {
                Ok(token) => assert_eq!(token.secret().expose(), TOKEN),
                Err(error) => assert_eq!(error.code(), "managed_identity_request_failed"),
            }
        }
    }
}

/// The probe before the first request is that of any managed identity.
#[tokio::test]
async fn only_link_is_probed_once() {
    let token = || answer(200, r#"{"access_token":"t","expires_in":"3600"}"#);
    let transport = ScriptedTransport::new([answer(400, ""), token(), token()]);
    let chain =
        ToolFolder::none().chain().managed_identity(unnamed_identity(transport.clone())).build().unwrap();
    chain.token(VAULT).await.unwrap();
    chain.token(VAULT).force_refresh().await.unwrap();
    let with_header = |request: &Request| request.headers().contains_key("metadata");
    let headers: Vec<bool> = transport.requests().iter().map(with_header).collect();
    assert_eq!(headers, [false, true, true]);
}

#[tokio::test]
async fn workload_identity_failure_ends_the_request() {
    let tools = ToolFolder::az(&prints_az_token());
    let file = tools.path("federated");
    std::fs::write(&file, "assertion").unwrap();
    let file = file.display().to_string();
    let all = [
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_TENANT_ID", "contoso.example"),
        ("AZURE_FEDERATED_TOKEN_FILE", file.as_str()),
    ];
    let refused =
        r#"{"error":"invalid_client","error_description":"AADSTS700024: expired","error_codes":[700024]}"#;
    let granted = r#"{"access_token":"federated","token_type":"Bearer","expires_in":3600}"#;
    let transport = ScriptedTransport::new([answer(401, refused), answer(200, granted)]);
    let chain = tools
        .chain()
        .context(tools.context().with_env(tools.env_with(&all)))
        .transport(transport.clone())
        .workload_identity()
        .azure_cli(AzureCli::new())
        .build()
        .unwrap();
    let error = chain.token(VAULT).await.unwrap_err();
    assert_eq!((error.code(), error.server_codes()), ("invalid_client", &[700_024][..]));
    assert!(error.to_string().starts_with("workload identity: "), "{error}");
    // A changed credential is sent at once.
    std::fs::write(tools.path("federated"), "renewed assertion").unwrap();
    assert_eq!(chain.token(VAULT).await.unwrap().secret().expose(), "federated");
    assert_eq!(chain.chosen(), Some(ChainLink::WorkloadIdentity));
    let url = transport.requests()[0].url().to_string();
    assert_eq!(url, "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token");

    // An incomplete description is an error.
    for missing in ["AZURE_CLIENT_ID", "AZURE_TENANT_ID"] {
        let half: Vec<_> = all.into_iter().filter(|(name, _)| *name != missing).collect();
        let chain = tools
            .chain()
            .context(tools.context().with_env(tools.env_with(&half)))
            .workload_identity()
            .azure_cli(AzureCli::new());
        let error = chain.build().unwrap().token(VAULT).await.unwrap_err();
        assert_eq!(error.code(), "workload_identity_unavailable");
        assert!(error.to_string().contains(missing), "{error}");
    }
    assert_eq!(tools.calls("az"), [""; 0]);
}

#[test]
fn chain_needs_a_link() {
    let error = ToolFolder::none().chain().build().unwrap_err();
    assert_eq!((error.code(), error.kind()), ("invalid_configuration", ErrorKind::Request));
}
