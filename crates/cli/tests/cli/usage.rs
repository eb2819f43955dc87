//! What is wrong with a command line or a file, in one line, with exit code 2.

use std::path::PathBuf;

use crate::run::{Ran, World, symbolon};

const TOKEN: &[&str] = &["token", "--resource", "https://x.example", "--key", "p-256"];
const APP_TOKEN: &[&str] = &["app-token", "--client-id", "x", "--scope", "s"];
const CERTIFICATE: &[&str] = &["--authority", "https://127.0.0.1:9/contoso.example", "--certificate"];

/// One line for people, the same for programs, and nobody was asked.
#[track_caller]
fn assert_wrong(world: &World, arguments: &[&str], told: &[&str]) -> String {
    let for_people = world.run(arguments);
    let mut with_json = vec!["--output", "json"];
    with_json.extend(arguments);
    let for_programs = world.run(&with_json);
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
    assert_eq!(world.emulator.journal().entries().len(), 0, "{arguments:?}");
    error["code"].as_str().unwrap().to_owned()
}

/// A folder with files that are wrong in some way.
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

/// A certificate, its key, and the key of another, in PEM.
fn certificate_and_keys() -> (String, String, String) {
    let world = World::new();
    let pem = |label, der| pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap();
    let [one, other] = ["one", "other"].map(|name| world.emulator.issue_client_certificate(name).unwrap());
    let certificate = pem("CERTIFICATE", one.certificate().der());
    (certificate, pem("PRIVATE KEY", one.pkcs8()), pem("PRIVATE KEY", other.pkcs8()))
}

#[test]
fn bad_01_an_unknown_option_is_named() {
    let world = World::new();
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
        assert_eq!(assert_wrong(&world, arguments, &["'--bogus'"]), "invalid_usage");
    }
    assert_wrong(&world, &["token", "--resource", "x", "--po"], &["'--po'", "'--pop'"]);
    assert_wrong(&world, &["demo", "surplus"], &["'surplus'"]);
}

#[test]
fn bad_02_an_unknown_command_is_named() {
    let world = World::new();
    assert_wrong(&world, &["--timeout", "1"], &["there is no command"]);
    assert_eq!(assert_wrong(&world, &["frobnicate"], &["'frobnicate'"]), "invalid_usage");
    assert_wrong(&world, &["tokn"], &["'tokn'", "'token'"]);
}

#[test]
fn bad_03_an_option_that_is_missing_is_named() {
    let world = World::new();
    for (arguments, told) in [
        (&["token"][..], &["--resource <URI>"][..]),
        (&["call", "--resource", "x"], &["<URL>"]),
        (&["app-token"], &["--authority", "--client-id", "--scope", "--client-secret-env", "--certificate"]),
        (&["exec"], &["<CMD>"]),
        (&["man"], &["--out"]),
    ] {
        assert_eq!(assert_wrong(&world, arguments, told), "invalid_usage");
    }
}

#[test]
fn bad_04_a_value_that_is_not_taken_is_named_with_its_option_and_those_that_are() {
    let world = World::new();
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
            let ran = Ran::of(symbolon().args(&arguments).output().unwrap());
            assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{}", ran.stderr);
            assert!(told.iter().all(|told| ran.stderr.contains(told)), "{}", ran.stderr);
            continue;
        }
        assert_eq!(assert_wrong(&world, &arguments, told), "invalid_usage");
    }
    for (arguments, told) in [
        (&["call", "https://x", "--resource", "x", "-H", "no colon"][..], &["'no colon'", "Name: value"][..]),
        (&["call", "https://x", "--resource", "x", "-H", "Authorization: mine"], &["Authorization"]),
        (&["call", "https://x", "--resource", "x", "-X", "B AD"], &["'B AD'", "--method"]),
        (&["serve", "--listen", "somewhere"], &["'somewhere'", "--listen"]),
        (&["serve", "--allow", "a b"], &["'a b'", "--allow"]),
        (&["emulate", "--listen", "0.0.0.0:0"], &["loopback"]),
        (&["completions", "tcsh"], &["'tcsh'", "bash"]),
    ] {
        assert_eq!(assert_wrong(&world, arguments, told), "invalid_usage");
    }
    let ran = Ran::of(symbolon().args(["demo", "--output", "header"]).output().unwrap());
    assert!(ran.code == 2 && ran.stderr.contains("`header`"), "{}", ran.stderr);
}

#[test]
fn bad_05_an_identity_of_another_form_is_told_the_forms() {
    let world = World::new();
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
                &world,
                &[command, &["--identity", identity]].concat(),
                &["'--identity <IDENTITY>'", told],
            );
            assert_eq!(code, "invalid_usage");
        }
    }
}

#[test]
fn bad_06_to_07_claims_that_are_none_are_told_where() {
    let world = World::new();
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
                assert_eq!(assert_wrong(&world, &arguments, &[&told]), "invalid_claims");
            }
        }
    }
}

#[test]
fn bad_08_a_resource_that_is_no_uri_is_named() {
    let world = World::new();
    for resource in ["", "not a url", "https://", "https://host:99999/", "https://a b/", "a\nb", "://x"] {
        for more in [&[][..], &["--pop"]] {
            let arguments = [&["token", "--resource", resource], more].concat();
            assert_eq!(
                assert_wrong(&world, &arguments, &["'--resource <URI>'", "not a URI"]),
                "invalid_usage"
            );
        }
    }
}

#[test]
fn bad_09_a_call_of_what_is_no_url_or_not_https_is_told() {
    let world = World::new();
    for url in ["not a url", "", "vault.example", "https://", "https://host:99999/"] {
        let code = assert_wrong(&world, &["call", url, "--resource", "x"], &["'<URL>'", "https://host/path"]);
        assert_eq!(code, "invalid_usage");
    }
    for url in ["http://vault.example/", "ftp://vault.example/", "urn:x"] {
        let code = assert_wrong(&world, &["call", url, "--resource", "x"], &["use an https URL"]);
        assert_eq!(code, "insecure_endpoint");
    }
}

#[test]
fn bad_10_an_authority_of_another_form_is_told_what_it_lacks() {
    let world = World::new();
    for (authority, told, code) in [
        ("not a url", "the authority is not a URL", "invalid_authority"),
        ("", "the authority is not a URL", "invalid_authority"),
        ("http://host/tenant", "the authority is not an https URL", "invalid_authority"),
        ("https://host", "the authority names no tenant", "invalid_authority"),
    ] {
        let arguments =
            [APP_TOKEN, &["--client-secret-env", "SSL_CERT_FILE", "--authority", authority]].concat();
        assert_eq!(assert_wrong(&world, &arguments, &[told, "https://host/tenant"]), code);
    }
}

#[test]
fn bad_11_a_file_of_roots_that_cannot_be_used_is_named() {
    let world = World::new();
    let files = Files::new();
    let (certificate, key, _) = certificate_and_keys();
    let malformed = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (file, told) in [
        ("/nonexistent".to_owned(), "No such file"),
        (files.with("empty.pem", ""), "holds none"),
        (files.with("text.pem", "no PEM"), "holds none"),
        (files.with("key.pem", key), "holds none"),
        (files.with("malformed.pem", malformed), "root certificate 1 is malformed"),
        (files.with("second.pem", certificate + malformed), "root certificate 2 is malformed"),
    ] {
        let named = format!("--ca-file {file}: ");
        for command in [TOKEN, &["doctor"], &["serve"], &["call", "https://x", "--resource", "x"]] {
            assert_wrong(&world, &[command, &["--ca-file", &file]].concat(), &[&named, told]);
        }
    }
}

#[test]
fn bad_12_to_13_a_certificate_that_cannot_be_used_is_named_with_its_file() {
    let world = World::new();
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
        assert_eq!(assert_wrong(&world, &arguments, &[&named, told]), "invalid_usage");
    }
}

#[test]
fn bad_14_an_assertion_that_is_not_there_is_named() {
    let world = World::new();
    let authority = ["--authority", "https://127.0.0.1:9/contoso.example"];
    let arguments = [APP_TOKEN, &authority, &["--assertion-file", "/nonexistent"]].concat();
    let code = assert_wrong(&world, &arguments, &["--assertion-file /nonexistent: No such file"]);
    assert_eq!(code, "invalid_usage");
}

#[test]
fn bad_15_a_file_of_faults_that_cannot_be_used_is_named_with_the_place() {
    let world = World::new();
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
        assert_eq!(assert_wrong(&world, &["emulate", "--faults", &file], &[&named, told]), "invalid_faults");
    }
}

#[test]
fn bad_16_wrong_variables_are_wrong_usage() {
    for (name, value, told) in [
        ("SYMBOLON_RETRY_SCALE", "fast", "SYMBOLON_RETRY_SCALE"),
        ("SYMBOLON_RETRY_SCALE", "-1", "SYMBOLON_RETRY_SCALE"),
        ("RUST_LOG", "a=b=c", "RUST_LOG"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "not a url", "AZURE_POD_IDENTITY_AUTHORITY_HOST"),
        ("HTTPS_PROXY", "socks5://127.0.0.1:1", "HTTPS_PROXY"),
    ] {
        let mut command = symbolon();
        command.env(name, value).args(["token", "--resource", "https://x.example"]);
        let ran = Ran::of(command.output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{name}={value}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{name}={value}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{name}={value}: {}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn bad_17_an_argument_that_is_no_utf_8_is_told_to_be_none() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    for (more, lines) in [(&[][..], 1), (&["--output", "json"], 2)] {
        let mut command = symbolon();
        let ran = Ran::of(
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
    for arguments in
        [&["--help"][..], &["token", "--help"], &["serve", "--help"], &["exec", "-h"], &["--version"]]
    {
        let ran = Ran::of(symbolon().args(arguments).output().unwrap());
        assert!(ran.code == 0 && ran.stderr.is_empty() && !ran.stdout.is_empty(), "{arguments:?}");
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    }
}
