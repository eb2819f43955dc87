//! The same libraries as confidential clients on behalf of a user. They cache and refresh tokens,
//! so the responses about users have the form of Entra's.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use symbolon::Env;
use symbolon_emulator::{Emulator, Step};

use crate::programs::node;
use crate::{RESOURCE, claims};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/on_behalf_of.py");
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/on_behalf_of.mjs");
const CLIENT_ID: &str = "11111111-2222-4333-8444-555555555555";
const OTHER: &str = "99999999-2222-4333-8444-555555555555";
const SECRET: &str = "the secret of the middle tier";
const USER: &str = "adele@contoso.example";
const OTHER_RESOURCE: &str = "https://other.example";
const OBO: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const REFRESH: &str = "refresh_token";

/// MSAL with a secret and with a certificate, and the SDK.
pub(crate) fn check_python(interpreter: &Path) {
    let test_env = TestEnv::start();
    // The other application has the same secret, but no certificate.
    let printed =
        test_env.check(interpreter, PYTHON, "msal", &json!(SECRET), &[OBO, REFRESH, REFRESH, REFRESH]);
    test_env.check_msal(&printed);
    test_env.check(interpreter, PYTHON, "msal", &test_env.certificate(), &[OBO, REFRESH, REFRESH, REFRESH]);
    test_env.check(interpreter, PYTHON, "azure-identity", &json!(SECRET), &[OBO, REFRESH]);
}

#[test]
fn msal_for_node_acts_on_behalf_of_a_user() {
    let Some(interpreter) = node() else { return };
    let test_env = TestEnv::start();
    let printed =
        test_env.check(&interpreter, NODE, "msal-node", &json!(SECRET), &[OBO, REFRESH, REFRESH, REFRESH]);
    test_env.check_msal(&printed);
}

#[test]
fn azure_identity_for_node_acts_for_a_user() {
    let Some(interpreter) = node() else { return };
    TestEnv::start().check(&interpreter, NODE, "@azure/identity", &json!(SECRET), &[OBO, OBO]);
}

/// An emulator with the application and another one.
struct TestEnv {
    runtime: tokio::runtime::Runtime,
    emulator: Emulator,
}

impl TestEnv {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let builder = Emulator::builder().application(CLIENT_ID, SECRET).application(OTHER, SECRET);
        let emulator = runtime.block_on(builder.start()).unwrap();
        Self { runtime, emulator }
    }

    /// Requests tokens for two resources and again for the first, and checks the user and the
    /// grants.
    fn check(
        &self,
        interpreter: &Path,
        script: &str,
        library: &str,
        credential: &Value,
        grants: &[&str],
    ) -> Value {
        let audience = format!("api://{CLIENT_ID}");
        let assertion = self.runtime.block_on(self.emulator.user_token_of(USER, &audience)).unwrap();
        let asked = json!({
            "authority": self.emulator.token_url(),
            "tenant_id": self.emulator.tenant_id(),
            "ca": self.emulator.ca_file(),
            "client_id": CLIENT_ID,
            "other_client_id": OTHER,
            "credential": credential,
            "assertion": assertion,
            "scope": format!("{RESOURCE}/.default"),
            "other_scope": format!("{OTHER_RESOURCE}/read"),
        });
        let before = self.emulator.journal().count(Step::Token);
        let mut command = Command::new(interpreter);
        command.args([script, library]);
        let printed = run(command, &[("NODE_EXTRA_CA_CERTS", self.emulator.ca_file())], &asked);
        let journal = self.emulator.journal();
        let used: Vec<_> =
            journal.of(Step::Token).skip(before).filter_map(|entry| entry.form("grant_type")).collect();
        assert_eq!(used, grants, "{library}");
        let (user, tokens) = (claims(&assertion), printed["tokens"].as_array().unwrap());
        assert_eq!(tokens.len(), 3, "{library}");
        for (token, audience) in tokens.iter().zip([RESOURCE, OTHER_RESOURCE, RESOURCE]) {
            let claims = claims(token.as_str().unwrap());
            assert_eq!((&claims["oid"], &claims["aud"]), (&user["oid"], &json!(audience)), "{library}");
            assert_eq!((&claims["azp"], &claims["ver"]), (&json!(CLIENT_ID), &json!("2.0")), "{library}");
        }
        printed
    }

    /// MSAL returns the account of the user, and the error when another application uses the
    /// refresh token.
    fn check_msal(&self, printed: &Value) {
        let user = claims(printed["tokens"][0].as_str().unwrap());
        let id = format!("{}.{}", user["oid"].as_str().unwrap(), self.emulator.tenant_id());
        assert_eq!((&printed["username"], &printed["home_account_id"]), (&json!(USER), &json!(id)));
        assert_eq!(printed["refused"], json!({ "error": "invalid_grant", "codes": [70_000] }));
    }

    /// A certificate of the application with its key, in the form of MSAL for Python.
    fn certificate(&self) -> Value {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap();
        let certificate = self.emulator.certify(CLIENT_ID, spki.as_ref()).unwrap();
        json!({
            "private_key": pem("PRIVATE KEY", pkcs8.as_ref()),
            "public_certificate": pem("CERTIFICATE", &certificate.der),
        })
    }
}

/// Runs a command with the given variables only, and parses its output.
fn run(mut command: Command, variables: &[(&str, &Path)], asked: &Value) -> Value {
    command.env_clear().envs(variables.iter().copied());
    if let Some(path) = Env::process().var("PATH") {
        command.env("PATH", path);
    }
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// RFC 7468 §2.
fn pem(label: &str, der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
