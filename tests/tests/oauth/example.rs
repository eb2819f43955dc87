//! The core's example gets a token in every mode.

use std::fs;
use std::path::Path;

use symbolon_tests::RESOURCE;

use crate::assertion::{Algorithm, Assertion};
use crate::server::{server, ways_in};

#[path = "../../../crates/token/examples/credential_modes.rs"]
#[expect(dead_code, reason = "its `main` is not ours")]
mod credential_modes;

#[tokio::test]
async fn example_runs_in_every_mode() {
    let Some(server) = server().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let ca = written(folder.path(), "ca.pem", &server.ca_pem);
    let clients = &server.clients;
    for (way, issuer) in ways_in(server) {
        let endpoint = &issuer.token_endpoint;
        let pem = |client: &crate::clients::CertifiedClient| {
            format!("{}{}", client.certified.certificate_pem, client.certified.key_pem)
        };
        let assertion = Assertion::new(&clients.ps256, Algorithm::Ps256, endpoint).sign();
        for (mode, client_id, content) in [
            ("secret", clients.secret.id, clients.secret.secret.to_owned()),
            ("jwt", clients.ps256.id, pem(&clients.ps256)),
            ("mtls", clients.tls.id, pem(&clients.tls)),
            ("assertion", clients.ps256.id, assertion),
        ] {
            let file = written(folder.path(), mode, &content);
            let arguments = [mode, endpoint, &ca, client_id, RESOURCE, &file].map(str::to_owned);
            let token = credential_modes::token(arguments).await;
            let token = token.unwrap_or_else(|error| panic!("{mode}, {way}: {error}"));
            assert_eq!(crate::server::claims(&token)["client_id"], client_id, "{mode}, {way}");
        }
    }
}

fn written(folder: &Path, name: &str, content: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, content).unwrap();
    file.to_str().unwrap().to_owned()
}
