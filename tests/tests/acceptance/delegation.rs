//! DEL: bound tokens of managed identities through the exchange of the core.

use std::path::{Path, PathBuf};

use crate::test_env::TestEnv;
use symbolon::{ClientIdentity, CorrelationId, Env, ErrorKind, TokenCache, TokenOrigin};
use symbolon_emulator::{Fault, Step, TlsVersion};
use symbolon_tests::RESOURCE;

const PERIMETER: &str = r#"{"access_token":{"xms_az_nwperimid":{"values":["perimeter-1"]}}}"#;
const CHALLENGE: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1701477303"}}}"#;

fn claims_sent(test_env: &TestEnv) -> serde_json::Value {
    serde_json::from_str(test_env.last_token_request().form("claims").unwrap()).unwrap()
}

#[tokio::test]
async fn del_01_client_claims_are_merged() {
    let test_env = TestEnv::new().await;
    let identity = test_env.builder().capabilities(["cp1"]).build().unwrap();
    let request = identity.token(RESOURCE).proof_of_possession();
    test_env.keep(request.claims(CHALLENGE).claims_from_client(PERIMETER).await.unwrap());
    assert_eq!(
        claims_sent(&test_env),
        serde_json::json!({"access_token": {
            "nbf": {"essential": true, "value": "1701477303"},
            "xms_az_nwperimid": {"values": ["perimeter-1"]},
            "xms_cc": {"values": ["cp1"]},
        }})
    );
    test_env.bound_token(&identity).await;
    assert_eq!(claims_sent(&test_env), serde_json::json!({"access_token": {"xms_cc": {"values": ["cp1"]}}}));
}

#[tokio::test]
async fn del_02_the_same_client_claims_hit_and_others_miss() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let others = PERIMETER.replace("perimeter-1", "perimeter-2");
    let mut sources = Vec::new();
    for claims in [PERIMETER, PERIMETER, &others, &others, PERIMETER] {
        let token = identity.token(RESOURCE).proof_of_possession().claims_from_client(claims).await.unwrap();
        sources.push(test_env.keep(token).origin());
    }
    use TokenOrigin::{Cache, Network};
    assert_eq!(sources, [Network, Cache, Network, Cache, Cache]);
    assert_eq!(
        test_env.bound_token(&identity).await.origin(),
        Network,
        "without claims it is another entry again"
    );
    assert_eq!(test_env.counts().issuances, 1);
}

#[tokio::test]
async fn del_03_server_claims_bypass_the_cache() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let old = test_env.bound_token(&identity).await;
    let new = test_env.keep(identity.token(RESOURCE).proof_of_possession().claims(CHALLENGE).await.unwrap());
    assert_eq!(new.origin(), TokenOrigin::Network);
    let hit = test_env.bound_token(&identity).await;
    assert_eq!(hit.origin(), TokenOrigin::Cache);
    assert_eq!(hit.secret().expose(), new.secret().expose());
    assert_ne!(hit.secret().expose(), old.secret().expose());
}

#[tokio::test]
async fn del_09_wire_scope_ends_in_one_default() {
    const SCOPE: &str = "https://vault.example/.default";
    for (resource, cached, scope) in [
        (RESOURCE, RESOURCE, SCOPE),
        // The slash belongs to the audience (REQ-07).
        ("https://vault.example/", "https://vault.example/", "https://vault.example//.default"),
        (SCOPE, RESOURCE, SCOPE),
    ] {
        let test_env = TestEnv::new().await;
        let identity = test_env.identity();
        let token = test_env.keep(identity.token(resource).proof_of_possession().await.unwrap());
        assert_eq!(token.audience(), cached);
        assert_eq!(test_env.last_token_request().form("scope"), Some(scope), "{resource}");
        let hit = test_env.keep(identity.token(cached).proof_of_possession().await.unwrap());
        assert_eq!(hit.origin(), TokenOrigin::Cache, "{resource}");
    }
}

#[tokio::test]
async fn del_10_other_sources_cannot_bind() {
    let test_env = TestEnv::new().await;
    let msi = "http://127.0.0.1:9/msi/token";
    for variables in [
        &[("IDENTITY_ENDPOINT", msi), ("IDENTITY_HEADER", "x")][..],
        &[("IDENTITY_ENDPOINT", msi), ("IDENTITY_HEADER", "x"), ("IDENTITY_SERVER_THUMBPRINT", "y")],
        &[("MSI_ENDPOINT", msi)],
        &[("MSI_ENDPOINT", msi), ("MSI_SECRET", "x")],
        &[("IDENTITY_ENDPOINT", msi), ("IMDS_ENDPOINT", msi)],
    ] {
        let env: Env = variables.iter().copied().collect();
        let identity = test_env.builder().context(test_env.context().with_env(env)).build().unwrap();
        let id = CorrelationId::random();
        let request = identity.token(RESOURCE).correlation_id(id);
        let error = request.proof_of_possession().await.unwrap_err();
        assert_eq!(error.code(), "mtls_pop_not_supported_for_environment", "{variables:?}");
        assert_eq!((error.kind(), error.correlation_id()), (ErrorKind::Environment, Some(id)));
    }
    assert_eq!(test_env.emulator.journal().entries().len(), 0);
}

#[tokio::test]
async fn del_10_imds_v1_cannot_bind() {
    let test_env = TestEnv::with(symbolon_emulator::EmulatorBuilder::v1_only).await;
    let identity = test_env.identity();
    let error = identity.token(RESOURCE).proof_of_possession().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("mtls_pop_not_supported_in_imds_v1", ErrorKind::Environment));
    assert_eq!(test_env.count(Step::PlatformMetadata), 1);
    let bearer = test_env.keep(identity.token(RESOURCE).await.unwrap());
    assert_eq!(bearer.token_type(), "Bearer");
}

#[test]
fn del_11_only_the_core_makes_token_requests() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut makers = Vec::new();
    for file in sources(&crates) {
        let text = std::fs::read_to_string(&file).unwrap();
        if text.contains("grant_type") || text.contains("client_credentials") {
            makers.push(
                file.strip_prefix(&crates).unwrap().components().next().unwrap().as_os_str().to_owned(),
            );
        }
    }
    makers.sort();
    makers.dedup();
    assert_eq!(makers, ["emulator", "token"], "the emulator is the other side");
}

pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.components().any(|part| part.as_os_str() == "src")
        {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn del_12_bearer_and_bound_tokens_coexist() {
    for bound_first in [true, false] {
        let test_env = TestEnv::with(|emulator| emulator.tls_version(TlsVersion::V1_3)).await;
        let identity = test_env.identity();
        let mut tokens = Vec::new();
        for is_bound in [bound_first, !bound_first, bound_first, !bound_first] {
            let token = if is_bound {
                identity.token(RESOURCE).proof_of_possession().await
            } else {
                identity.token(RESOURCE).await
            };
            let token = test_env.keep(token.unwrap());
            assert_eq!(token.bound_to().is_some(), is_bound);
            assert_eq!(test_env.call(&identity, &token).await.status(), 200);
            let journal = test_env.emulator.journal();
            let presented = journal.last(Step::Resource).unwrap().certificate();
            assert_eq!(presented, token.bound_to().map(ClientIdentity::thumbprint));
            tokens.push(token);
        }
        assert_eq!(tokens[0].secret().expose(), tokens[2].secret().expose());
        assert_eq!(tokens[1].secret().expose(), tokens[3].secret().expose());
        assert_eq!(tokens[3].origin(), TokenOrigin::Cache);
    }
}

#[tokio::test]
async fn correlation_id_is_the_same_on_every_request() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let id = CorrelationId::random();
    let ask = |is_bound: bool| {
        let request = identity.token(RESOURCE).force_refresh().correlation_id(id);
        if is_bound { request.proof_of_possession() } else { request }
    };
    for is_bound in [true, false] {
        assert_eq!(test_env.keep(ask(is_bound).await.unwrap()).correlation_id(), id);
    }
    let journal = test_env.emulator.journal();
    for (step, header) in [
        (Step::PlatformMetadata, "x-ms-client-request-id"),
        (Step::IssueCredential, "x-ms-client-request-id"),
        (Step::Token, "client-request-id"),
        (Step::ImdsToken, "x-ms-client-request-id"),
    ] {
        let text = id.to_string();
        assert_eq!(journal.last(step).unwrap().header(header), Some(text.as_str()), "{step}");
    }

    let fresh = test_env.identity();
    test_env.emulator.inject(Fault::status(Step::IssueCredential, 400));
    let mint = fresh.token(RESOURCE).proof_of_possession().correlation_id(id).await.unwrap_err();
    test_env.emulator.inject(Fault::oauth_error("invalid_scope", &[70_011]));
    test_env.emulator.inject(Fault::status(Step::ImdsToken, 400));
    for error in [mint, ask(true).await.unwrap_err(), ask(false).await.unwrap_err()] {
        assert_eq!(error.correlation_id(), Some(id), "{error}");
    }
    test_env.emulator.inject(Fault::malformed_json(Step::ImdsToken));
    let unreadable = ask(false).await.unwrap_err();
    assert_eq!((unreadable.code(), unreadable.correlation_id()), ("invalid_response", Some(id)));
}

#[tokio::test]
async fn del_15_mtls_bearer_shares_the_mint() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    let over_mtls = || identity.token(RESOURCE).over_mtls();
    let token = test_env.keep(over_mtls().await.unwrap());
    assert_eq!((token.token_type(), token.bound_to()), ("Bearer", None));
    let request = test_env.last_token_request();
    assert_eq!(request.form("token_type"), None);
    assert_eq!(request.certificate(), Some(test_env.last_certificate()));
    assert_eq!(over_mtls().await.unwrap().origin(), TokenOrigin::Cache);
    // The other two kinds of token have entries of their own, and share the certificate.
    let bearer = test_env.keep(identity.token(RESOURCE).await.unwrap());
    let bound = test_env.bound_token(&identity).await;
    assert_eq!([bearer.origin(), bound.origin()], [TokenOrigin::Network; 2]);
    let secrets = [&token, &bearer, &bound].map(|token| token.secret().expose().to_owned());
    assert!(secrets[0] != secrets[1] && secrets[1] != secrets[2] && secrets[0] != secrets[2]);
    assert_eq!(test_env.counts().issuances, 1);
    // A request for both gets the bound token.
    let both = test_env.keep(over_mtls().proof_of_possession().await.unwrap());
    assert_eq!((both.token_type(), both.origin()), ("mtls_pop", TokenOrigin::Cache));
}

/// The system-assigned identities of two machines have the same name.
#[tokio::test]
async fn del_15_shared_cache_separates_machines() {
    let machines = [TestEnv::new().await, TestEnv::new().await];
    let cache = TokenCache::new(100, &machines[0].context());
    let mut secrets = Vec::new();
    for machine in &machines {
        let identity = machine.builder().cache(cache.clone()).build().unwrap();
        for expected in [TokenOrigin::Network, TokenOrigin::Cache] {
            let token = machine.keep(identity.token(RESOURCE).over_mtls().await.unwrap());
            assert_eq!(token.origin(), expected);
            secrets.push(token.secret().expose().to_owned());
        }
    }
    assert_ne!(secrets[1], secrets[2]);
}

#[tokio::test]
async fn del_15_mtls_bearer_replaces_its_certificate() {
    let test_env = TestEnv::new().await;
    let identity = test_env.identity();
    test_env.keep(identity.token(RESOURCE).over_mtls().await.unwrap());
    test_env.emulator.inject(Fault::oauth_error("invalid_client", &[1_000_612]));
    test_env.keep(identity.token("https://other.example").over_mtls().await.unwrap());
    assert_eq!(test_env.counts(), crate::test_env::Counts::of(2, 2, 3));
    // No fallback to a request without mTLS.
    test_env.emulator.inject(Fault::status(Step::IssueCredential, 403).always());
    let cold = test_env.identity();
    let error = cold.token(RESOURCE).over_mtls().await.unwrap_err();
    assert_eq!(error.code(), "managed_identity_request_failed");
    assert_eq!(test_env.count(Step::ImdsToken), 0);
}
