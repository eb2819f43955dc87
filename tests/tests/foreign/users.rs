//! The same libraries as confidential clients, on behalf of a user: where MSAL finds its tokens again and refreshes them,
//! the answers about users are what it expects of Entra's.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use symbolon_emulator::{Emulator, Entry, Step};

use crate::{RESOURCE, claims};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/on_behalf_of.py");
const CLIENT_ID: &str = "11111111-2222-4333-8444-555555555555";
const OTHER: &str = "99999999-2222-4333-8444-555555555555";
const SECRET: &str = "the secret of the middle tier";
const USER: &str = "adele@contoso.example";
const OTHER_RESOURCE: &str = "https://other.example";
const OBO: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Asks for tokens about a user, of two resources and of the first one again: MSAL with a secret and with a certificate,
/// and the SDK. Both take the second from the refresh token that came with the first.
pub(crate) fn check_python(interpreter: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let builder = Emulator::builder().application(CLIENT_ID, SECRET).application(OTHER, SECRET);
    let emulator = runtime.block_on(builder.start()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = emulator.write_ca(folder.path()).unwrap();
    let assertion = |audience: &str| runtime.block_on(emulator.user_token_of(USER, audience)).unwrap();
    let user = claims(&assertion(CLIENT_ID));
    let ask = |library: &str, credential: &Value| {
        let asked = json!({
            "authority": emulator.token_url().replace("127.0.0.1", "localhost"),
            "tenant_id": emulator.tenant_id(),
            "ca": ca,
            "client_id": CLIENT_ID,
            "other_client_id": OTHER,
            "credential": credential,
            "assertion": assertion(&format!("api://{CLIENT_ID}")),
            "scope": format!("{RESOURCE}/.default"),
            "other_scope": format!("{OTHER_RESOURCE}/read"),
        });
        let before = emulator.journal().count(Step::Token);
        let told = run(interpreter, library, &asked);
        let journal = emulator.journal();
        let grants =
            journal.of(Step::Token).skip(before).map(|entry| grant(entry).to_owned()).collect::<Vec<_>>();
        for (token, audience) in
            told["tokens"].as_array().unwrap().iter().zip([RESOURCE, OTHER_RESOURCE, RESOURCE])
        {
            let claims = claims(token.as_str().unwrap());
            assert_eq!((&claims["oid"], &claims["aud"]), (&user["oid"], &json!(audience)), "{library}");
            assert_eq!((&claims["azp"], &claims["ver"]), (&json!(CLIENT_ID), &json!("2.0")), "{library}");
        }
        (told, grants)
    };

    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap();
    let certificate = emulator.certify(CLIENT_ID, spki.as_ref()).unwrap();
    let certificate = json!({
        "private_key": pem("PRIVATE KEY", pkcs8.as_ref()),
        "public_certificate": pem("CERTIFICATE", certificate.der()),
    });
    for credential in [json!(SECRET), certificate] {
        let (told, grants) = ask("msal", &credential);
        assert_eq!(grants, [OBO, "refresh_token", "refresh_token", "refresh_token"]);
        assert_eq!((&told["username"], told["tokens"].as_array().unwrap().len()), (&json!(USER), 3));
        if credential.is_string() {
            assert_eq!(told["refused"], json!({ "error": "invalid_grant", "codes": [70_000] }));
        }
    }
    let (told, grants) = ask("azure-identity", &json!(SECRET));
    assert_eq!(
        (grants, told["tokens"].as_array().unwrap().len()),
        (vec![OBO.to_owned(), "refresh_token".to_owned()], 3)
    );
}

fn grant(entry: &Entry) -> &str {
    entry.form("grant_type").unwrap()
}

fn run(interpreter: &Path, library: &str, asked: &Value) -> Value {
    let mut command = Command::new(interpreter);
    command.args([SCRIPT, library]).env_clear();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{library}:\n{told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// RFC 7468 §2.
fn pem(label: &str, der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
