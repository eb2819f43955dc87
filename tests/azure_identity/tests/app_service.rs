//! `azure_identity` gets a token from the emulator with the variables of App Service.

use std::process::Command;

use azure_core::credentials::TokenCredential;
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use symbolon_emulator::{Emulator, Source, Step};

/// Set in the child process that requests a token. Empty for the system-assigned identity, else a
/// client id.
const ASKING: &str = "SYMBOLON_TEST_ASKS_AS";
const SCOPE: &str = "https://vault.azure.net/.default";

#[tokio::test(flavor = "current_thread")]
async fn azure_identity_gets_tokens_from_app_service() {
    if let Ok(client_id) = std::env::var(ASKING) {
        let user_assigned_id = Some(client_id).filter(|id| !id.is_empty()).map(UserAssignedId::ClientId);
        let options = ManagedIdentityCredentialOptions { user_assigned_id, ..Default::default() };
        let credential = ManagedIdentityCredential::new(Some(options)).unwrap();
        let first = credential.get_token(&[SCOPE], None).await.unwrap();
        let second = credential.get_token(&[SCOPE], None).await.unwrap();
        assert_eq!(first.token.secret(), second.token.secret());
        assert!(first.token.secret().starts_with("eyJ"));
        return;
    }
    let emulator = Emulator::start().await.unwrap();
    for client_id in ["", emulator.user_assigned().client_id.as_str()] {
        let before = emulator.journal().count(Step::AppService);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "azure_identity_gets_tokens_from_app_service"])
            .env(ASKING, client_id)
            .envs(emulator.environment_of(Source::AppService))
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains("1 passed"), "{printed}\n{}", emulator.journal());
        let journal = emulator.journal();
        assert_eq!(journal.count(Step::AppService), before + 1, "the second token is cached");
        let entry = journal.last(Step::AppService).unwrap();
        assert_eq!((entry.status(), entry.query("client_id").unwrap_or_default()), (Some(200), client_id));
    }
}
