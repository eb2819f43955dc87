//! Invalid command lines and files: one line on stderr, exit code 2.

use std::path::PathBuf;

use crate::run::{RunResult, TestEnv, symbolon};

const TOKEN: &[&str] = &["token", "--resource", "https://x.example", "--key", "p-256"];
const APP_TOKEN: &[&str] = &["app-token", "--client-id", "x", "--scope", "s"];
const CERTIFICATE: &[&str] = &["--authority", "https://127.0.0.1:9/contoso.example", "--certificate"];

/// Asserts that the command prints one line, the same as JSON, and sends nothing; returns the code.
#[track_caller]
fn assert_wrong(env: &TestEnv, arguments: &[&str], told: &[&str]) -> String {
    let for_people = env.run(arguments);
    let mut with_json = vec!["--output", "json"];
    with_json.extend(arguments);
    let for_programs = env.run(&with_json);
    for (ran, lines) in [(&for_people, 1), (&for_programs, 2)] {
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?} {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), lines, "{arguments:?} {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{arguments:?} {}", ran.stderr);
        for told in told {
            assert!(ran.stderr.contains(told), "{arguments:?}: {told}: {}", ran.stderr);
        }
    }
    let error = for_programs.error();
    assert_eq!(for_people.stderr, format!("error: {}\n", error["message"].as_str().unwrap()));
    assert_eq!(env.emulator.journal().entries().len(), 0, "{arguments:?}");
    error["code"].as_str().unwrap().to_owned()
}

/// A folder with invalid files.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let file: PathBuf = self.0.path().join(name);
        std::fs::write(&file, content).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

/// Returns a certificate, its key and another key, in PEM.
fn certificate_and_keys() -> (String, String, String) {
    let env = TestEnv::new();
    let pem = |label, der| pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap();
    let [one, other] = ["one", "other"].map(|name| env.emulator.issue_client_certificate(name).unwrap());
    let certificate = pem("CERTIFICATE", &one.certificate.der);
    (certificate, pem("PRIVATE KEY", &one.pkcs8), pem("PRIVATE KEY", &other.pkcs8))
}

#[test]
fn bad_01_unknown_option() {
    let env = TestEnv::new();
    for arguments in [
        &["token", "--resource", "x", "--bogus"][..],
        &["demo", "--bogus"],
        &["call", "https://x", "--resource", "x", "--bogus"],
        &["app-token", "--bogus"],
        &["doctor", "--bogus"],
        &["inspect", "--bogus"],
        &["emulate", "--bogus"],
        &["serve", "--bogus"],
        &["exec", "--bogus", "--", "true"],
        &["--bogus", "demo"],
    ] {
        assert_eq!(assert_wrong(&env, arguments, &["'--bogus'"]), "invalid_usage");
    }
    assert_wrong(&env, &["token", "--resource", "x", "--po"], &["'--po'", "'--pop'"]);
    assert_wrong(&env, &["app-token", "--secret", "x"], &["'--secret'", "'--client-secret-env'"]);
    assert_wrong(&env, &["demo", "surplus"], &["'surplus'"]);
}

#[test]
fn bad_02_unknown_command() {
    let env = TestEnv::new();
    assert_wrong(&env, &["--timeout", "1"], &["there is no command"]);
    assert_eq!(assert_wrong(&env, &["frobnicate"], &["'frobnicate'"]), "invalid_usage");
    assert_wrong(&env, &["tokn"], &["'tokn'", "'token'"]);
}

#[test]
fn bad_03_missing_option() {
    let env = TestEnv::new();
    for (arguments, told) in [
        (&["token"][..], &["--resource <URI>"][..]),
        (&["call", "--resource", "x"], &["<URL>"]),
        (&["app-token"], &["--authority", "--client-id", "--scope", "--client-secret-env", "--certificate"]),
        (&["exec"], &["<CMD>"]),
        (&["man"], &["--out"]),
        (&["proxy"], &["--to <URL>", "--config <FILE>"]),
    ] {
        assert_eq!(assert_wrong(&env, arguments, told), "invalid_usage");
    }
}

#[test]
fn bad_04_invalid_value() {
    let env = TestEnv::new();
    for (arguments, told) in [
        (&["--key", "rsa-1024"][..], &["'rsa-1024'", "'--key", "rsa-2048, p-256"][..]),
        (&["--min-strength", "tpm"], &["'tpm'", "'--min-strength", "none, software, hardware, keyguard"]),
        (&["--count", "0"], &["'0'", "'--count", "1..="]),
        (&["--concurrency", "many"], &["'many'", "'--concurrency"]),
        (&["--timeout", "never"], &["'never'", "'--timeout", "not a number of seconds"]),
        (&["--timeout", "0"], &["'0'", "'--timeout", "positive"]),
        (&["--timeout", "1", "--timeout", "2"], &["'--timeout", "multiple times"]),
        (&["--output", "yaml"], &["'yaml'", "'--output", "text, json, header"]),
        (&["--pop", "--over-mtls"], &["'--pop'", "'--over-mtls'"]),
    ] {
        let arguments = [&["token", "--resource", "https://x.example"], arguments].concat();
        if arguments.contains(&"yaml") {
            let ran = RunResult::of(symbolon().args(&arguments).output().unwrap());
            assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{}", ran.stderr);
            assert!(told.iter().all(|told| ran.stderr.contains(told)), "{}", ran.stderr);
            continue;
        }
        assert_eq!(assert_wrong(&env, &arguments, told), "invalid_usage");
    }
    for (arguments, told) in [
        (&["call", "https://x", "--resource", "x", "-H", "no colon"][..], &["'no colon'", "Name: value"][..]),
        (&["call", "https://x", "--resource", "x", "-H", "Authorization: mine"], &["Authorization"]),
        (&["call", "https://x", "--resource", "x", "-X", "B AD"], &["'B AD'", "--method"]),
        (&["serve", "--listen", "somewhere"], &["'somewhere'", "--listen", "form 127.0.0.1:8080"]),
        (&["serve", "--status", "8080"], &["'8080'", "--status", "form 127.0.0.1:8080"]),
        (&["emulate", "--admin", "localhost:1"], &["'localhost:1'", "--admin", "form 127.0.0.1:8080"]),
        (&["serve", "--allow", "a b"], &["'a b'", "--allow"]),
        (&["emulate", "--listen", "0.0.0.0:0"], &["loopback"]),
        (&["completions", "tcsh"], &["'tcsh'", "bash"]),
    ] {
        assert_eq!(assert_wrong(&env, arguments, told), "invalid_usage");
    }
    let ran = RunResult::of(symbolon().args(["demo", "--output", "header"]).output().unwrap());
    assert!(ran.code == 2 && ran.stderr.contains("--output header"), "{}", ran.stderr);
}

#[test]
fn bad_05_invalid_identity() {
    let env = TestEnv::new();
    let forms = "use system, client-id:ID, object-id:ID or resource-id:ID";
    for (identity, told) in [
        ("mine", forms),
        ("", forms),
        ("system:x", forms),
        ("clientid:x", forms),
        ("client-id", forms),
        ("client-id:", "is empty"),
        ("object-id:", "is empty"),
        ("resource-id:", "is empty"),
        ("client-id:a b", "space"),
        ("client-id:a\nb", "space"),
    ] {
        for command in [TOKEN, &["call", "https://x", "--resource", "x"], &["serve"]] {
            let code = assert_wrong(
                &env,
                &[command, &["--identity", identity]].concat(),
                &["'--identity <IDENTITY>'", told],
            );
            assert_eq!(code, "invalid_usage");
        }
    }
}

#[test]
fn bad_06_to_07_invalid_claims() {
    let env = TestEnv::new();
    let secret = ["--authority", "https://127.0.0.1:9/t", "--client-secret-env", "SSL_CERT_FILE"];
    let app_token = [APP_TOKEN, &secret].concat();
    for option in ["--claims", "--client-claims"] {
        for (claims, told) in [
            ("{bad", "is not JSON: a syntax error at line 1, column 2"),
            ("{\"access_token\":\n {]}", "is not JSON: a syntax error at line 2, column 3"),
            ("{\"access_token\":", "is not JSON: it ends too early at line 1, column 16"),
            ("", "is not JSON: it ends too early at line 1, column 0"),
            ("[]", "is JSON, but not an object"),
            ("\"kept-to-oneself\"", "is JSON, but not an object"),
        ] {
            for command in [TOKEN, &[TOKEN, &["--pop"]].concat(), &app_token] {
                let arguments = [command, &[option, claims]].concat();
                let told = format!("error: {option} {told}\n");
                assert_eq!(assert_wrong(&env, &arguments, &[&told]), "invalid_claims");
            }
        }
    }
}

#[test]
fn bad_08_resource_is_not_a_uri() {
    let env = TestEnv::new();
    for resource in ["", "not a url", "https://", "https://host:99999/", "https://a b/", "a\nb", "://x"] {
        for more in [&[][..], &["--pop"]] {
            let arguments = [&["token", "--resource", resource], more].concat();
            assert_eq!(assert_wrong(&env, &arguments, &["'--resource <URI>'", "not a URI"]), "invalid_usage");
        }
    }
}

#[test]
fn bad_09_call_url_is_invalid() {
    let env = TestEnv::new();
    for url in ["not a url", "", "vault.example", "https://", "https://host:99999/"] {
        let code = assert_wrong(&env, &["call", url, "--resource", "x"], &["'<URL>'", "https://host/path"]);
        assert_eq!(code, "invalid_usage");
    }
    for url in ["http://vault.example/", "ftp://vault.example/", "urn:x"] {
        let code = assert_wrong(&env, &["call", url, "--resource", "x"], &["use an https URL"]);
        assert_eq!(code, "insecure_endpoint");
    }
}

#[test]
fn bad_10_invalid_authority() {
    let env = TestEnv::new();
    for (authority, told, code) in [
        ("not a url", "the authority is not a URL", "invalid_authority"),
        ("", "the authority is not a URL", "invalid_authority"),
        ("http://host/tenant", "the authority is not an https URL", "invalid_authority"),
        ("https://host", "the authority names no tenant", "invalid_authority"),
    ] {
        let arguments =
            [APP_TOKEN, &["--client-secret-env", "SSL_CERT_FILE", "--authority", authority]].concat();
        assert_eq!(assert_wrong(&env, &arguments, &[told, "https://host/tenant"]), code);
    }
}

#[test]
fn bad_11_unusable_root_file() {
    let env = TestEnv::new();
    let files = Files::new();
    let (certificate, key, _) = certificate_and_keys();
    let malformed = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (file, told) in [
        ("/nonexistent".to_owned(), "No such file"),
        (files.with("empty.pem", ""), "no CERTIFICATE block"),
        (files.with("text.pem", "no PEM"), "no CERTIFICATE block"),
        (files.with("key.pem", key), "no CERTIFICATE block"),
        (files.with("malformed.pem", malformed), "root certificate 1 is malformed"),
        (files.with("second.pem", certificate + malformed), "root certificate 2 is malformed"),
    ] {
        let named = format!("--ca-file {file}: ");
        for command in [TOKEN, &["doctor"], &["serve"], &["call", "https://x", "--resource", "x"]] {
            assert_wrong(&env, &[command, &["--ca-file", &file]].concat(), &[&named, told]);
        }
    }
}

#[test]
fn bad_12_to_13_unusable_certificate_file() {
    let env = TestEnv::new();
    let files = Files::new();
    let (certificate, key, other) = certificate_and_keys();
    let malformed = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    for (file, told) in [
        ("/nonexistent".to_owned(), "No such file"),
        (files.with("text.pem", "no PEM"), "there is no certificate"),
        (files.with("malformed.pem", malformed + &key), "certificate"),
        (files.with("torn.pem", &certificate[..200]), "certificate"),
        (files.with("without.pem", &certificate), "there is no private key"),
        (files.with("key.pem", &key), "there is no certificate"),
        (files.with("other.pem", certificate + &other), "none of the certificates is for the private key"),
    ] {
        let named = format!("--certificate {file}: ");
        let arguments = [APP_TOKEN, CERTIFICATE, &[&file]].concat();
        assert_eq!(assert_wrong(&env, &arguments, &[&named, told]), "invalid_usage");
    }
}

#[test]
fn bad_14_missing_assertion_file() {
    let env = TestEnv::new();
    let authority = ["--authority", "https://127.0.0.1:9/contoso.example"];
    let arguments = [APP_TOKEN, &authority, &["--assertion-file", "/nonexistent"]].concat();
    let code = assert_wrong(&env, &arguments, &["--assertion-file /nonexistent: No such file"]);
    assert_eq!(code, "invalid_usage");
}

#[test]
fn bad_15_invalid_faults_file() {
    let env = TestEnv::new();
    let files = Files::new();
    for (file, told) in [
        ("/nonexistent".to_owned(), "could not be read"),
        (files.with("text.toml", b"\xff"), "could not be read"),
        (files.with("torn.toml", "[[fault"), "line 1, column 8: "),
        (files.with("step.toml", "[[fault]]\nkind = \"reset\"\nstep = \"tokn\"\n"), "line 3, column 8: "),
        (files.with("kind.toml", "[[fault]]\nkind = \"resett\"\n"), "line 2, column 8: "),
        (files.with("name.toml", "[host]\ntennant_id = \"x\"\n"), "line 2, column 1: "),
        (files.with("value.toml", "[host]\nv1_only = 7\n"), "line 2, column 11: "),
    ] {
        let named = format!("error: {file}: ");
        assert_eq!(assert_wrong(&env, &["emulate", "--faults", &file], &[&named, told]), "invalid_faults");
    }
}

#[test]
fn bad_16_invalid_variables() {
    for (name, value, told) in [
        ("SYMBOLON_RETRY_SCALE", "fast", "SYMBOLON_RETRY_SCALE"),
        ("SYMBOLON_RETRY_SCALE", "-1", "SYMBOLON_RETRY_SCALE"),
        ("RUST_LOG", "a=b=c", "RUST_LOG"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "not a url", "AZURE_POD_IDENTITY_AUTHORITY_HOST"),
    ] {
        let mut command = symbolon();
        command.env(name, value).args(["token", "--resource", "https://x.example"]);
        let ran = RunResult::of(command.output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{name}={value}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{name}={value}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{name}={value}: {}", ran.stderr);
    }
}

/// Only a request that would use the proxy fails.
#[test]
fn bad_16_unusable_proxy() {
    for (name, value) in [("HTTPS_PROXY", "socks4://user:s3cr3t@127.0.0.1:1"), ("ALL_PROXY", "http://")] {
        let mut command = symbolon();
        command.env_remove("HTTPS_PROXY").env(name, value).env("APP_SECRET", "a secret").args([
            "app-token",
            "--authority",
            "https://login.microsoftonline.com/contoso.example",
            "--client-id",
            "6731de76-14a6-49ae-97bc-6eba6914391e",
            "--scope",
            "https://vault.example/.default",
            "--client-secret-env",
            "APP_SECRET",
        ]);
        let ran = RunResult::of(command.output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{name}={value}: {}", ran.stderr);
        for part in [name, "socks5h://", "login.microsoftonline.com:443"] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("s3cr3t"), "{}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn bad_17_argument_is_not_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    for (more, lines) in [(&[][..], 1), (&["--output", "json"], 2)] {
        let mut command = symbolon();
        let ran = RunResult::of(
            command
                .args(["token", "--resource"])
                .arg(OsStr::from_bytes(b"\xff"))
                .args(more)
                .output()
                .unwrap(),
        );
        assert_eq!((ran.code, ran.stderr.lines().count()), (2, lines), "{}", ran.stderr);
        assert!(ran.stderr.starts_with("error: invalid UTF-8"), "{}", ran.stderr);
    }
}

#[test]
fn help_and_version_are_results() {
    for arguments in [
        &["--help"][..],
        &["token", "--help"],
        &["app-token", "--help"],
        &["serve", "--help"],
        &["exec", "-h"],
        &["proxy", "--help"],
        &["binding", "--help"],
        &["binding", "export", "--help"],
        &["binding", "renew", "--help"],
        &["--version"],
    ] {
        let ran = RunResult::of(symbolon().args(arguments).output().unwrap());
        assert!(ran.code == 0 && ran.stderr.is_empty() && !ran.stdout.is_empty(), "{arguments:?}");
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    }
}
