//! Tests of the tokens with an independent library: PyJWT discovers the keys and verifies.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use symbolon_emulator::Emulator;
use symbolon_types::Env;

use crate::client::Client;
use crate::csr::Key;
use crate::fixtures::{RESOURCE, bound_token, certified, v1_token_request};

/// The tested versions.
const PACKAGES: [&str; 2] = ["PyJWT==2.15.1", "cryptography==50.0.2"];
/// A script that verifies the token on stdin and prints its claims.
const VERIFY: &str = r#"
import json, ssl, sys, urllib.request, jwt
ca, configuration, audience = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
metadata = json.load(urllib.request.urlopen(configuration, context=context))
token = sys.stdin.read()
key = jwt.PyJWKClient(metadata["jwks_uri"], ssl_context=context).get_signing_key_from_jwt(token)
claims = jwt.decode(
    token,
    key,
    algorithms=metadata["id_token_signing_alg_values_supported"],
    audience=audience,
    issuer=metadata["issuer"],
    options={"require": ["aud", "exp", "iat", "iss", "nbf", "sub"]},
)
print(json.dumps(claims))
"#;

/// Returns a Python with the library, installed once below the build folder.
fn python() -> Option<PathBuf> {
    let runs = |command: &mut Command| {
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    };
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pyjwt");
    let interpreter = home.join(if cfg!(windows) { "Scripts" } else { "bin" }).join("python");
    let has_library = || runs(Command::new(&interpreter).args(["-c", "import jwt, cryptography"]));
    if !has_library() {
        runs(Command::new("python3").args(["-m", "venv"]).arg(&home));
        runs(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES));
    }
    if !has_library() {
        assert!(Env::process().var("CI").is_none(), "missing: PyJWT");
        println!("skipped: missing PyJWT, or python3-venv to install it in");
        return None;
    }
    Some(interpreter)
}

#[tokio::test]
async fn pyjwt_verifies_tokens() {
    let Some(python) = python() else { return };
    let emulator = Emulator::start().await.unwrap();
    let configuration =
        format!("{}/{}/v2.0/.well-known/openid-configuration", emulator.token_url(), emulator.tenant_id());
    let verify = |token: &str, audience: &str| {
        let mut command = Command::new(&python);
        command.args(["-c", VERIFY]).arg(emulator.ca_file()).args([&configuration, audience]).env_clear();
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice::<Value>(&output.stdout).map_err(|_| stderr)
    };

    let identity = certified(&emulator, &Key::p256()).await;
    let bound = bound_token(&emulator, &identity).await.unwrap();
    let claims = verify(&bound, RESOURCE).unwrap();
    assert_eq!(claims["cnf"]["x5t#S256"], identity.thumbprint().to_string());
    assert_eq!(
        (&claims["appid"], &claims["tid"]),
        (&emulator.client_id().into(), &emulator.tenant_id().into())
    );

    let bearer =
        Client::new(&emulator, None).send(v1_token_request(&emulator, RESOURCE)).await.unwrap().json();
    let claims = verify(bearer["access_token"].as_str().unwrap(), RESOURCE).unwrap();
    assert!(claims.get("cnf").is_none());

    let refused = verify(&bound, "https://other.example").unwrap_err();
    assert!(refused.contains("InvalidAudienceError"), "{refused}");
    let elsewhere = Emulator::builder().tenant_id(emulator.tenant_id()).start().await.unwrap();
    let foreign = certified(&elsewhere, &Key::p256()).await;
    let foreign = bound_token(&elsewhere, &foreign).await.unwrap();
    let refused = verify(&foreign, RESOURCE).unwrap_err();
    assert!(refused.contains("PyJWKClientError"), "{refused}");
}
