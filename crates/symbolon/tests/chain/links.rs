//! Which link is asked, which is skipped, and which failure ends the request.

use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::parts::transport::{Request, Response, TransportError, transport_fn};
use symbolon::{
    AzureCli, AzureDeveloperCli, ChainLink, Context, CredentialChain, Env, ErrorKind, HyperTransport,
    ManagedIdentity, SharedClock,
};
use symbolon_emulator::{Emulator, Fault, Source, Step};

use crate::lab::{AZ_LOGGED_OUT, TOKEN, Tools, VAULT, clock, prints_az_token, prints_azd_token};

fn answer(status: u16, body: &'static str) -> Result<Response, TransportError> {
    Ok(Response::new(StatusCode::from_u16(status).unwrap(), body))
}

/// A chain with every link.
fn whole(tools: &Tools, env: &Env, identity: ManagedIdentity) -> CredentialChain {
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

/// A managed identity at this transport, where nothing names a source.
fn somewhere(transport: ScriptedTransport) -> ManagedIdentity {
    let context = Context::default().with_env(Env::empty()).with_clock(&clock()).with_retry_scale(0.0);
    ManagedIdentity::builder().context(context).transport(transport).build().unwrap()
}

/// A managed identity, and a transport of the chain's, in the environment of this host.
fn on(emulator: &Emulator, host: Source) -> (ManagedIdentity, HyperTransport) {
    let transport =
        HyperTransport::builder().context(Context::default().with_env(Env::empty())).platform_roots(false);
    let transport = transport.root_certificates_pem(emulator.ca_pem().as_bytes()).build().unwrap();
    let env: Env = emulator.environment_of(host).into_iter().collect();
    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(env).with_retry_scale(0.0))
        .transport(transport.clone());
    (identity.build().unwrap(), transport)
}

/// Users' requirement 12 and 21: a laptop.
#[test]
fn a_machine_without_anything_hears_so_within_a_second_and_a_half() {
    let tools = Tools::none();
    let hands = clock();
    // Nothing ever answers, as where packets to the metadata service are dropped.
    let silent = transport_fn(|_: Request| std::future::pending::<Result<Response, TransportError>>());
    let context = Context::default().with_env(Env::empty()).with_clock(&hands);
    let identity = ManagedIdentity::builder().context(context).transport(silent).build().unwrap();
    let only = [("PATH", tools.path("").display().to_string())].into_iter().collect();
    let chain = whole(&tools, &only, identity);
    let began = SharedClock::from(&hands).now();
    let mut asking = chain.token(VAULT).into_future();
    let error = loop {
        match (&mut asking).now_or_never() {
            Some(outcome) => break outcome.unwrap_err(),
            // The threads that look for tools take a moment, the clock's sleepers none.
            None => drop(hands.advance_to_next()),
        }
    };
    let took = SharedClock::from(&hands).now().duration_since(began).unwrap();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert_eq!((error.code(), error.kind()), ("no_credential_available", ErrorKind::Environment));
    assert!(error.correlation_id().is_some());
    for reason in [
        "[workload identity: there is no workload identity here: AZURE_FEDERATED_TOKEN_FILE is not set",
        "[managed identity: nothing names another source, and there is no metadata service (version 2: did not answer in time)",
        "[Azure CLI: there is no `az` in the absolute folders of PATH",
        "[Azure Developer CLI: there is no `azd` in the absolute folders of PATH",
    ] {
        assert!(error.to_string().contains(reason), "{error}");
    }
    let skipped: Vec<ChainLink> = chain.skipped().iter().map(|skipped| skipped.link).collect();
    assert_eq!((skipped, chain.chosen()), (chain.links(), None));
}

#[tokio::test]
async fn the_first_link_that_has_a_token_is_asked_alone_from_then_on() {
    let tools = Tools::none().with("az", AZ_LOGGED_OUT).with("azd", &prints_azd_token());
    let transport = ScriptedTransport::new([]);
    let chain = whole(&tools, &tools.env(), somewhere(transport.clone()));
    assert_eq!(chain.token(VAULT).await.unwrap().secret().expose(), TOKEN);
    assert_eq!(chain.chosen(), Some(ChainLink::AzureDeveloperCli));
    let skipped = chain.skipped();
    assert_eq!(skipped.len(), 3);
    assert!(skipped[2].reason.contains("nobody is logged in to the Azure CLI"), "{skipped:?}");
    let probes = transport.requests().len();
    chain.token("https://management.azure.com").await.unwrap();
    assert_eq!((tools.calls("az").len(), tools.calls("azd").len()), (1, 2));
    assert_eq!(transport.requests().len(), probes);

    // What would have skipped it before is an error now: the others are somebody else.
    let tools = tools.with("azd", crate::lab::AZD_LOGGED_OUT).with("az", &prints_az_token());
    let error = chain.token(VAULT).force_refresh().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("azure_developer_cli_unavailable", ErrorKind::Environment));
    assert!(error.to_string().starts_with("Azure Developer CLI: nobody is logged in"), "{error}");
    assert_eq!(tools.calls("az").len(), 1);
    // The token that it has stays good.
    assert_eq!(chain.token(VAULT).await.unwrap().secret().expose(), TOKEN);
}

#[tokio::test]
async fn a_source_that_the_environment_names_and_that_fails_is_not_passed_over() {
    let emulator = Emulator::start().await.unwrap();
    for (host, step) in [(Source::AppService, Step::AppService), (Source::Imds, Step::ImdsToken)] {
        let tools = Tools::az(&prints_az_token());
        emulator.inject(Fault::status(step, 400).body(r#"{"error":"invalid_request"}"#));
        let (identity, _) = on(&emulator, host);
        let chain = whole(&tools, &tools.env(), identity);
        let error = chain.token(VAULT).await.unwrap_err();
        assert_eq!((error.code(), error.status()), ("managed_identity_request_failed", Some(400)), "{error}");
        assert!(error.to_string().starts_with("managed identity: "), "{error}");
        assert_eq!((tools.calls("az"), chain.chosen()), (vec![], None));
        // It works again: nothing about the failure sticks.
        chain.token(VAULT).await.unwrap();
        assert_eq!(chain.chosen(), Some(ChainLink::ManagedIdentity));
    }
    // Named, although it is not there.
    let named: Env = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")].into_iter().collect();
    let tools = Tools::az(&prints_az_token());
    let transport = ScriptedTransport::new([]);
    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(named).with_retry_scale(0.0))
        .transport(transport.clone());
    let chain = whole(&tools, &tools.env(), identity.build().unwrap());
    let error = chain.token(VAULT).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("managed_identity_unreachable", ErrorKind::Network));
    assert_eq!(transport.requests().len(), 4, "the full number of attempts");
}

#[tokio::test]
async fn a_metadata_service_that_answers_the_probe_is_asked_with_patience() {
    let tools = Tools::az(&prints_az_token());
    let mut answers = vec![answer(400, "")];
    answers.extend((0..3).map(|_| answer(503, "")));
    answers.push(answer(200, r#"{"access_token":"t","expires_in":"3600"}"#));
    let transport = ScriptedTransport::new(answers);
    let chain = whole(&tools, &tools.env(), somewhere(transport.clone()));
    assert_eq!(chain.token(VAULT).await.unwrap().secret().expose(), "t");
    assert_eq!(chain.chosen(), Some(ChainLink::ManagedIdentity));
    let with_header = |request: &Request| request.headers().contains_key("metadata");
    let asked: Vec<bool> = transport.requests().iter().map(with_header).collect();
    assert_eq!(asked, [false, true, true, true, true], "one probe, and four requests");
    assert_eq!(tools.calls("az"), [""; 0]);
}

#[tokio::test]
async fn a_managed_identity_that_stands_alone_is_not_probed() {
    let transport = ScriptedTransport::new([answer(200, r#"{"access_token":"t","expires_in":"3600"}"#)]);
    let chain = Tools::none().chain().managed_identity(somewhere(transport.clone())).build().unwrap();
    chain.token(VAULT).await.unwrap();
    assert_eq!(transport.requests().len(), 1);
    assert!(transport.requests()[0].headers().contains_key("metadata"));
}

#[tokio::test]
async fn a_workload_identity_comes_first_and_its_failure_is_its_own() {
    let tools = Tools::az(&prints_az_token());
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
    assert_eq!(chain.token(VAULT).await.unwrap().secret().expose(), "federated");
    assert_eq!(chain.chosen(), Some(ChainLink::WorkloadIdentity));
    let url = transport.requests()[0].url().to_string();
    assert_eq!(url, "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token");

    // Half of a description is a mistake, and not an absence.
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
fn a_chain_without_links_is_refused() {
    let error = Tools::none().chain().build().unwrap_err();
    assert_eq!((error.code(), error.kind()), ("invalid_configuration", ErrorKind::Request));
}
