//! Keys in devices: SoftHSM and swtpm.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;
use symbolon_test_programs::{SoftHsm, Swtpm};

use crate::binding::HandoverEnv;
use crate::run::{RunResult, skip_without};

const TOKEN: [&str; 6] = ["token", "--resource", "https://x.example", "--pop", "--output", "json"];

/// A token of SoftHSM beside an emulator.
struct HsmEnv {
    env: HandoverEnv,
    hsm: SoftHsm,
}

impl HsmEnv {
    fn new() -> Option<Self> {
        let env = HandoverEnv::new();
        let folder = env.path("hsm");
        fs::create_dir(&folder).unwrap();
        let hsm = SoftHsm::create_in(&folder)?;
        fs::write(env.path("pin"), format!("{}\n", SoftHsm::pin().expose())).unwrap();
        Some(Self { env, hsm })
    }

    fn symbolon(&self, arguments: &[&str]) -> Command {
        let mut command = self.env.symbolon(arguments);
        self.hsm.put_into(&mut command);
        command
    }

    fn run(&self, arguments: &[&str]) -> RunResult {
        let ran = RunResult::of(self.symbolon(arguments).output().unwrap());
        for output in [&ran.stdout, &ran.stderr] {
            assert!(!output.contains(SoftHsm::pin().expose()), "{output}");
        }
        ran
    }
}

fn uri(more: &str) -> String {
    format!("pkcs11:token=symbolon%20test{more}?module-path={}", SoftHsm::module().display())
}

fn binding(ran: &RunResult) -> Value {
    ran.json()[0]["binding"].clone()
}

#[test]
fn tok_32_key_on_a_pkcs11_token() {
    let Some(env) = HsmEnv::new() else { return };
    let uri = uri(";object=web");
    for key_type in ["rsa-2048", "p-256"] {
        let pin = ["--pin-file", "pin", "--key-type", key_type, "--persist-binding"];
        let token = || binding(&env.run(&[&TOKEN[..], &["--key", &uri], &pin].concat()));
        assert_eq!(token()["x5t#S256"], token()["x5t#S256"], "{key_type}");
    }
    assert_eq!(env.env.issued(), 2);
    let shown = env.run(&["binding", "show", "--output", "json"]).json();
    let mut keys: Vec<_> = shown.iter().map(|record| record["key"]["type"].as_str().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["p-256", "rsa-2048"]);
    for record in shown {
        let location = record["key"]["location"].as_str().unwrap().to_owned();
        assert!(location.starts_with("pkcs11:token=symbolon%20test;serial="), "{location}");
        // The printed URI selects the key.
        let key_type = record["key"]["type"].as_str().unwrap();
        let more = ["--key", &location, "--pin-file", "pin", "--key-type", key_type, "--persist-binding"];
        assert_eq!(binding(&env.run(&[&TOKEN[..], &more].concat()))["x5t#S256"], record["x5t#S256"]);
    }
    assert_eq!(env.env.issued(), 2);
    // The key is a key of the other commands as well.
    let call = ["call", env.env.env.emulator.resource_url(), "--resource", "https://x.example", "--pop"];
    let ran = env.run(&[&call[..], &["--key", &uri, "--pin-file", "pin"]].concat());
    assert!(ran.code == 0 && ran.stdout.contains("\"bound\":true"), "{}", ran.stderr);
    let hardware = ["--key", &uri, "--pin-file", "pin", "--min-strength", "hardware"];
    let ran = env.run(&[&TOKEN[..], &hardware].concat());
    assert_eq!((ran.code, ran.error()["code"].as_str()), (3, Some("min_strength_not_met")));
    let ran = env.run(&[&TOKEN[..], &hardware, &["--hardware-token"]].concat());
    assert_eq!(binding(&ran)["strength"], "hardware");
}

#[test]
fn tok_33_key_in_a_tpm() {
    let Some(mut tpm) = Swtpm::start() else { return };
    let env = HandoverEnv::new();
    let uri = format!("tpm:{}", tpm.tcti());
    let token = ["--key", &uri, "--key-type", "p-256", "--persist-binding"];
    let token = || env.run(&[&TOKEN[..4], &token].concat());
    let first = binding(&token());
    tpm.reset();
    assert_eq!((binding(&token()), env.issued()), (first, 1));
    let call = ["call", env.env.emulator.resource_url(), "--resource", "https://x.example", "--pop"];
    let ran = env.run(&[&call[..], &["--key", &uri, "--key-type", "p-256"]].concat());
    assert!(ran.code == 0 && ran.stdout.contains("\"bound\":true"), "{}", ran.stderr);
    let shown = env.run(&["binding", "show"]).json();
    let location = shown[0]["key"]["location"].as_str().unwrap();
    assert!(location.starts_with(&format!("{uri}?file=")), "{location}");
    tpm.power_off();
    let ran = token();
    assert_eq!((ran.code, ran.error()["code"].as_str()), (3, Some("tpm_unreachable")));
    let message = ran.error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("at {};", tpm.tcti())), "{message}");
}

#[test]
fn tok_34_pins() {
    let Some(env) = HsmEnv::new() else { return };
    let pin = SoftHsm::pin();
    let uri = uri("");
    let key = ["--key", &uri, "--key-type", "p-256"];
    let by_source = format!("{uri}&pin-source=file:{}", env.env.path("pin").display());
    for arguments in [
        &[&key[..], &["--pin-file", "pin"]].concat()[..],
        &[&key[..], &["--pin-env", "PIN"]].concat(),
        &["--key", &by_source, "--key-type", "p-256"],
    ] {
        let mut command = env.symbolon(&[&TOKEN[..], arguments].concat());
        command.env("PIN", pin.expose()).env("RUST_LOG", "trace");
        let ran = RunResult::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
        for output in [&ran.stdout, &ran.stderr] {
            assert!(!output.contains(pin.expose()), "{output}");
        }
    }
    let missing = env.run(&[&TOKEN[..], &key].concat());
    assert_eq!((missing.code, missing.error()["code"].as_str()), (3, Some("pin_required")));
    fs::write(env.env.path("wrong"), "0000-wrong").unwrap();
    let wrong = env.run(&[&TOKEN[..], &key, &["--pin-file", "wrong"]].concat());
    assert_eq!((wrong.code, wrong.error()["code"].as_str()), (3, Some("pin_refused")));
    assert!(!wrong.stderr.contains("0000-wrong"), "{}", wrong.stderr);
    for (option, value) in [
        ("--pin-file", "nonexistent"),
        ("--pin-file", "hsm"),
        ("--pin-env", "NOT_SET"),
        ("--pin-env", pin.expose()),
    ] {
        let ran = env.run(&[&TOKEN[..], &key, &[option, value]].concat());
        assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")), "{option}");
        assert!(ran.error()["message"].as_str().unwrap().starts_with(option), "{}", ran.stderr);
    }
    // A child of `exec`, or of `binding renew`, does not inherit the PIN.
    let print = ["exec", "--key-type", "p-256", "--key", &uri, "--pin-env", "PIN", "--", "/usr/bin/env"];
    let mut exec = env.symbolon(&print);
    let ran = RunResult::of(exec.env("PIN", pin.expose()).output().unwrap());
    assert!(ran.code == 0 && ran.stdout.contains("IDENTITY_ENDPOINT="), "{}", ran.stderr);
    assert!(!ran.stdout.contains(pin.expose()), "{}", ran.stdout);
    let renew = ["binding", "renew", "--cert", "tls/cert.pem", "--key", &uri, "--key-type", "p-256"];
    let mut renew = env.symbolon(&renew);
    let ran = renew.args(["--pin-env", "PIN", "--shell", "--exec", "env > seen"]).env("PIN", pin.expose());
    let ran = RunResult::of(ran.output().unwrap());
    let seen = fs::read_to_string(env.env.path("seen")).unwrap();
    assert!(ran.code == 0 && seen.contains("SYMBOLON_STATE_DIR=") && !seen.contains(pin.expose()), "{seen}");
}

#[test]
fn tok_35_invalid_uris() {
    let env = HandoverEnv::new();
    for (arguments, code) in [
        (&["--key", "pkcs11:token=x?pin-value=s3cr3t"][..], "invalid_configuration"),
        (&["--key", "pkcs11:pin=s3cr3t"], "invalid_configuration"),
        (&["--key", "pkcs11:token"], "invalid_configuration"),
        (&["--key", "tpm:s3cr3t:x"], "invalid_configuration"),
        (&["--key", "tpm:?parent=s3cr3t"], "invalid_configuration"),
        (&["--key", "pkcs12:token=x?pin-value=s3cr3t"], "invalid_usage"),
        (&["--key", "p-256", "--pin-env", "s3cr3t"], "invalid_usage"),
        (&["--pin-file", "pin"], "invalid_usage"),
        (&["--key-type", "p-256"], "invalid_usage"),
        (&["--hardware-token"], "invalid_usage"),
        (&["--key", "tpm:", "--hardware-token"], "invalid_usage"),
    ] {
        let ran = env.run(&[&TOKEN[..4], arguments].concat());
        assert_eq!(
            (ran.code, ran.error()["code"].as_str()),
            (2, Some(code)),
            "{arguments:?}: {}",
            ran.stderr
        );
        // The address of a TPM is no secret.
        assert!(!ran.stderr.contains("s3cr3t") || arguments[1].starts_with("tpm:s"), "{}", ran.stderr);
    }
    assert!(env.env.emulator.journal().entries().len() == 0);
    let bad_module = env.run(&[&TOKEN[..4], &["--key", "pkcs11:?module-path=/nonexistent.so"]].concat());
    assert_eq!((bad_module.code, bad_module.error()["code"].as_str()), (3, Some("pkcs11_module_unusable")));
}

#[test]
fn tok_36_build_without_devices() {
    let env = HandoverEnv::new();
    for (uri, name, is_built) in [
        ("pkcs11:?module-path=/nonexistent.so", "pkcs11", cfg!(feature = "pkcs11")),
        ("tpm:swtpm:path=/nonexistent", "tpm", cfg!(feature = "tpm")),
    ] {
        let ran = env.run(&[&TOKEN[..4], &["--key", uri]].concat());
        let expected = match (is_built, name) {
            (false, _) => (2, "key_device_unsupported"),
            (true, "pkcs11") => (3, "pkcs11_module_unusable"),
            (true, _) => (3, "tpm_unreachable"),
        };
        assert_eq!((ran.code, ran.error()["code"].as_str().unwrap()), expected, "{}", ran.stderr);
        assert_eq!(ran.stderr.contains(&format!("feature `{name}`")), !is_built, "{}", ran.stderr);
    }
}

#[test]
fn bnd_14_certificates_for_keys_in_devices() {
    let Some(env) = HsmEnv::new() else { return };
    let Some(tpm) = Swtpm::start() else { return };
    let (on_token, in_tpm) = (uri(";object=web"), format!("tpm:{}", tpm.tcti()));
    for (uri, more, location) in [
        (&on_token, &["--pin-file", "pin"][..], "pkcs11:token=symbolon%20test;"),
        (&in_tpm, &[], "tpm:swtpm:"),
    ] {
        let key = [&["--key", uri, "--key-type", "p-256"], more].concat();
        let before = env.env.env.emulator.journal().entries().len();
        let combined =
            [&["binding", "export", "--output", "json", "--combined", "tls/both.pem"], &key[..]].concat();
        let ran = env.run(&combined);
        assert_eq!((ran.code, ran.error()["code"].as_str()), (3, Some("key_not_exportable")));
        assert_eq!(env.env.env.emulator.journal().entries().len(), before);
        let export =
            [&["binding", "export", "--output", "json", "--cert", "tls/cert.pem"], &key[..]].concat();
        let record = env.run(&export).json().swap_remove(0);
        assert!(record["key"]["location"].as_str().unwrap().starts_with(location), "{record}");
        assert_eq!(record["certificate"], fs::read_to_string(env.env.path("tls/cert.pem")).unwrap());
        let names = fs::read_dir(env.env.path("tls")).unwrap().count();
        assert_eq!(names, 1, "the certificate alone");
    }
}

#[test]
fn bnd_18_wrapped_key_for_openssl() {
    let Some(tpm) = Swtpm::start() else { return };
    let env = HandoverEnv::new();
    fs::write(env.path("text"), "a text").unwrap();
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(env.path("."));
        RunResult::of(command.env("TPM2OPENSSL_TCTI", tpm.tcti()).output().unwrap())
    };
    if openssl(&["list", "-providers", "-provider", "tpm2"]).code != 0 {
        return skip_without("the provider tpm2 of OpenSSL (`apt-get install tpm2-openssl`)");
    }
    for key_type in ["p-256", "rsa-2048"] {
        let uri = format!("tpm:{}", tpm.tcti());
        let export = ["binding", "export", "--cert", "tls/cert.pem", "--wrapped-key", "tls/key.pem"];
        let ran = env.run(&[&export[..], &["--key", &uri, "--key-type", key_type]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let key = fs::metadata(env.path("tls/key.pem")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        let sign = ["dgst", "-sha256", "-provider", "tpm2", "-provider", "default", "-propquery"];
        let query = ["?provider=tpm2,tpm2.digest!=yes", "-sign", "tls/key.pem", "-out", "signature", "text"];
        let ran = openssl(&[&sign[..], &query].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let ran = openssl(&["x509", "-in", "tls/cert.pem", "-noout", "-pubkey", "-out", "public.pem"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let ran = openssl(&["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "text"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "Verified OK\n"), "{key_type}");
    }
    for more in [&["--key", "tls/other.pem"][..], &["--key", "pkcs11:?module-path=/nonexistent.so"], &[]] {
        let export = ["binding", "export", "--cert", "tls/cert.pem", "--wrapped-key", "tls/key.pem"];
        let ran = env.run(&[&export[..], more].concat());
        assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("invalid_usage")), "{more:?}");
    }
}
