//! Clients of an emulator in one line each, as the author of a first test writes them.

use symbolon_testing::emulator::Source;
use symbolon_testing::symbolon::{ErrorKind, ManagedIdentity};
use symbolon_testing::{Emulator, EmulatorClients, Step};

const RESOURCE: &str = "https://vault.azure.net";

#[tokio::test]
async fn identity_calls_with_bound_tokens() {
    let emulator = Emulator::start().await.unwrap();
    let identity = emulator.identity().unwrap();
    let client = identity.client(RESOURCE).proof_of_possession().build().unwrap();
    let seen: String = client.get(emulator.resource_url()).send().await.unwrap().text().await.unwrap();
    assert!(seen.contains(r#""bound":true"#), "{seen}");
    assert_eq!(emulator.journal().count(Step::IssueCredential), 1);
}

#[tokio::test]
async fn client_has_bearer_and_bound_tokens() {
    let emulator = Emulator::builder().strict().resource(RESOURCE).start().await.unwrap();
    let client = emulator.client().unwrap();
    let bearer = client.token_for_resource(RESOURCE).await.unwrap();
    assert_eq!((bearer.token_type(), bearer.client_id()), ("Bearer", Some(emulator.application_id())));
    let bound = client.token_for_resource(RESOURCE).proof_of_possession().await.unwrap();
    assert_eq!(bound.token_type(), "mtls_pop");

    let other = emulator.client_of("11111111-2222-4333-8444-555555555555").unwrap();
    let error = other.token_for_resource(RESOURCE).await.unwrap_err();
    assert_eq!(error.server_codes(), [700_016], "the emulator is strict: {error}");
    let error = client.token_for_resource("https://graph.example").await.unwrap_err();
    assert_eq!(error.server_codes(), [500_011], "{error}");
}

// The variables suffice for a client of every host.
#[tokio::test]
async fn context_fits_every_source() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().canonicalize().unwrap();
    for source in Source::ALL {
        let emulator = Emulator::builder().source(source).arc_tokens(&folder).start().await.unwrap();
        let builder = ManagedIdentity::builder().context(emulator.context()).azure_arc_tokens(&folder);
        let identity = builder.build().unwrap();
        let client = identity.client(RESOURCE).build().unwrap();
        let response = client.get(emulator.resource_url()).send().await.unwrap();
        assert_eq!(response.status(), 200, "{source}");
    }
}

#[tokio::test]
async fn emulator_with_invalid_client_id_is_an_error() {
    let emulator = Emulator::start().await.unwrap();
    let error = emulator.client_of("not*a*client").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request, "{error}");
}
