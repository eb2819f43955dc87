//! `symbolon app-token`.

use std::path::PathBuf;

use serde_json::Value;
use symbolon_emulator::Step;

use crate::run::{Ran, World};

const CLIENT_ID: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const SCOPE: &str = "https://vault.example/.default";

struct App {
    world: World,
    folder: tempfile::TempDir,
}

impl App {
    fn new() -> Self {
        let world = World::with(|emulator| {
            emulator.application(CLIENT_ID, "p@ss&word").federated_application(CLIENT_ID)
        });
        Self { world, folder: tempfile::tempdir().unwrap() }
    }

    fn ask(&self, more: &[&str]) -> Ran {
        let emulator = &self.world.emulator;
        let authority = format!("{}/{}", emulator.token_url(), emulator.tenant_id());
        let ask = [
            "app-token",
            "--authority",
            &authority,
            "--client-id",
            CLIENT_ID,
            "--scope",
            SCOPE,
            "--output",
            "json",
        ];
        let mut command = self.world.symbolon();
        Ran::of(command.env("APP_SECRET", "p@ss&word").args([&ask, more].concat()).output().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// A file with a certificate of the client and its key.
    fn certificate(&self) -> PathBuf {
        let issued = self.world.emulator.issue_client_certificate(CLIENT_ID).unwrap();
        let pem = |label, der| pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap();
        let text = pem("CERTIFICATE", issued.certificate().der()) + &pem("PRIVATE KEY", issued.pkcs8());
        self.file("client.pem", &text)
    }
}

#[test]
fn a_secret_in_a_variable_gets_a_bearer_token() {
    let app = App::new();
    let ran = app.ask(&["--client-secret-env", "APP_SECRET"]);
    let token = &ran.json()[0];
    assert_eq!((&token["token_type"], &token["binding"]), (&"Bearer".into(), &Value::Null));
    assert_eq!((&token["resource"], &token["client_id"]), (&SCOPE.into(), &CLIENT_ID.into()));
    assert_eq!(token["tenant_id"], app.world.emulator.tenant_id());
}

#[test]
fn a_certificate_signs_or_is_presented_as_it_is_asked_for() {
    let app = App::new();
    let file = app.certificate();
    let file = file.to_str().unwrap();
    for (more, token_type, is_on_tls, has_assertion) in [
        (&[][..], "Bearer", false, true),
        (&["--send-x5c"], "Bearer", false, true),
        (&["--over-mtls"], "Bearer", true, true),
        (&["--pop"], "mtls_pop", true, false),
    ] {
        let ran = app.ask(&[&["--certificate", file], more].concat());
        let token = &ran.json()[0];
        assert_eq!(token["token_type"], token_type, "{more:?}");
        assert_eq!(token["binding"].is_null(), token_type == "Bearer", "{more:?}");
        let journal = app.world.emulator.journal();
        let request = journal.last(Step::Token).unwrap();
        assert_eq!(request.certificate().is_some(), is_on_tls, "{more:?}");
        assert_eq!(request.form_names().any(|name| name == "client_assertion"), has_assertion, "{more:?}");
    }
}

#[test]
fn an_assertion_comes_from_a_file() {
    let app = App::new();
    let ask = ["token", "--resource", "api://AzureADTokenExchange", "--output", "json"];
    let assertion = app.world.run(&ask).json()[0]["access_token"].as_str().unwrap().to_owned();
    let file = app.file("assertion.jwt", &format!("{assertion}\n"));
    let ran = app.ask(&["--assertion-file", file.to_str().unwrap()]);
    assert_eq!(ran.json()[0]["token_type"], "Bearer");
}

#[test]
fn claims_and_capabilities_are_sent() {
    let app = App::new();
    let claims = r#"{"access_token":{"nbf":{"value":"1"}}}"#;
    let ran =
        app.ask(&["--client-secret-env", "APP_SECRET", "--client-claims", claims, "--capability", "cp1"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let journal = app.world.emulator.journal();
    let sent: Value =
        serde_json::from_str(journal.last(Step::Token).unwrap().form("claims").unwrap()).unwrap();
    assert_eq!(sent["access_token"]["xms_cc"]["values"][0], "cp1");
    assert_eq!(sent["access_token"]["nbf"]["value"], "1");
}

#[test]
fn failures_have_the_documented_codes_and_exit_codes() {
    let app = App::new();
    let certificate = app.certificate();
    let certificate = certificate.to_str().unwrap();
    let broken = app.file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let missing = app.folder.path().join("missing.jwt");
    for (case, more, code, exit) in [
        (
            "secret and pop",
            &["--client-secret-env", "APP_SECRET", "--pop"][..],
            "mtls_certificate_not_provided",
            2,
        ),
        ("no such variable", &["--client-secret-env", "NOT_SET"], "invalid_usage", 2),
        ("no such file", &["--certificate", "/nonexistent"], "invalid_usage", 2),
        ("no certificate", &["--certificate", broken.to_str().unwrap()], "invalid_usage", 2),
        (
            "no such assertion",
            &["--assertion-file", missing.to_str().unwrap()],
            "invalid_client_assertion",
            1,
        ),
        ("region", &["--certificate", certificate, "--region", "west us/"], "invalid_region", 2),
        ("claims", &["--certificate", certificate, "--claims", "["], "invalid_claims", 2),
        ("no credential", &[], "invalid_usage", 2),
        (
            "two credentials",
            &["--certificate", certificate, "--client-secret-env", "APP_SECRET"],
            "invalid_usage",
            2,
        ),
    ] {
        let ran = app.ask(more);
        assert_eq!((ran.error()["code"].as_str(), ran.code), (Some(code), exit), "{case}: {}", ran.stderr);
    }
    assert_eq!(app.world.emulator.journal().count(Step::Token), 0);
}

#[test]
fn a_wrong_secret_is_the_servers_to_refuse() {
    let app = App::new();
    let mut command = app.world.symbolon();
    let emulator = &app.world.emulator;
    let authority = format!("{}/{}", emulator.token_url(), emulator.tenant_id());
    command.env("APP_SECRET", "wrong").args([
        "app-token",
        "--authority",
        &authority,
        "--client-id",
        CLIENT_ID,
    ]);
    command.args(["--scope", SCOPE, "--client-secret-env", "APP_SECRET", "--output", "json"]);
    let ran = Ran::of(command.output().unwrap());
    let error = ran.error();
    assert_eq!((error["code"].as_str(), ran.code), (Some("invalid_client"), 1));
    assert_eq!(error["error_codes"], serde_json::json!([7_000_215]));
    assert!(
        !ran.stderr.contains("wrong\n")
            && error["message"].as_str().unwrap().contains("check the client secret")
    );
}
