//! Credentials of `symbolon app-token`.

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use symbolon_emulator::{Fault, Step};

use crate::app::{App, CLIENT_ID, NOBODY, SCOPE};
use crate::origin::Origin;
use crate::run::{RunResult, skip_without};

#[test]
fn app_01_to_02_client_secret() {
    let app = App::new();
    let ran = app.request_token(&["--client-secret-env", "APP_SECRET"]);
    let token = &ran.json()[0];
    assert_eq!((&token["token_type"], &token["binding"]), (&"Bearer".into(), &Value::Null));
    let journal = app.env.emulator.journal();
    let request = journal.last(Step::Token).unwrap();
    assert_eq!(request.path(), format!("/{}/oauth2/v2.0/token", app.env.emulator.tenant_id()));
    assert_eq!((request.form("client_id"), request.form("scope")), (Some(CLIENT_ID), Some(SCOPE)));
    assert!(request.form_names().any(|name| name == "client_secret"));
    let mut command = app.env.symbolon();
    let authority = app.env.emulator.token_url().to_owned() + "/contoso.example";
    command.args(["app-token", "--authority", &authority, "--client-id", CLIENT_ID, "--scope", SCOPE]);
    command.args(["--client-secret-env", "OTHER", "--output", "json"]).env("OTHER", "wrong");
    let ran = RunResult::of(command.output().unwrap());
    assert_eq!((ran.error()["code"].as_str(), ran.code), (Some("invalid_client"), 1), "another variable");
}

#[test]
fn app_03_to_06_certificate_signs_or_authenticates() {
    let app = App::new();
    let file = app.certificate();
    let file = file.to_str().unwrap();
    for (more, token_type, is_on_tls, has_assertion) in [
        (&[][..], "Bearer", false, true),
        (&["--send-x5c"], "Bearer", false, true),
        (&["--over-mtls"], "Bearer", true, true),
        (&["--pop"], "mtls_pop", true, false),
    ] {
        let ran = app.request_token(&[&["--certificate", file], more].concat());
        let token = &ran.json()[0];
        assert_eq!(token["token_type"], token_type, "{more:?}");
        assert_eq!(token["binding"].is_null(), token_type == "Bearer", "{more:?}");
        let journal = app.env.emulator.journal();
        let request = journal.last(Step::Token).unwrap();
        assert_eq!(request.certificate().is_some(), is_on_tls, "{more:?}");
        assert_eq!(request.form_names().any(|name| name == "client_assertion"), has_assertion, "{more:?}");
        assert!(!request.form_names().any(|name| name == "client_secret"), "{more:?}");
        if let Some(thumbprint) = token["binding"]["x5t#S256"].as_str() {
            assert_eq!(request.certificate().unwrap().to_string(), thumbprint);
        }
    }
}

#[test]
fn app_04_chain_in_the_assertion() {
    let Some(origin) = Origin::start() else { return };
    let mut app = App::new();
    let file = app.certificate();
    let pem = std::fs::read_to_string(&file).unwrap();
    let (_, der) =
        pem_rfc7468::decode_vec(pem.split_inclusive("END CERTIFICATE-----\n").next().unwrap().as_bytes())
            .unwrap();
    let chain = json!([Base64::encode_string(&der)]);
    for (more, variable, chain) in [
        (&[][..], None, &Value::Null),
        (&["--send-x5c"], None, &chain),
        (&[], Some("true"), &chain),
        (&[], Some("1"), &chain),
        (&[], Some("false"), &Value::Null),
    ] {
        app.variable = variable.map(|value| ("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", value));
        let authority = format!("{}/contoso.example", origin.url);
        let trust = ["--ca-file", &origin.ca_file, "--certificate", file.to_str().unwrap()];
        let ran = app.ask_at(&authority, &[&trust, more].concat());
        assert_eq!(ran.json()[0]["access_token"], "token");
        let body = origin.request()["body"].as_str().unwrap().to_owned();
        let (_, assertion) = url::form_urlencoded::parse(body.as_bytes())
            .find(|(name, _)| name == "client_assertion")
            .unwrap();
        let header = Base64UrlUnpadded::decode_vec(assertion.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(&header["x5c"], chain, "{more:?} {variable:?}");
    }
}

#[test]
fn app_07_assertion_from_a_file() {
    let app = App::new();
    let assertion = app.assertion();
    let file = app.file("assertion.jwt", &format!("{assertion}\n"));
    let ran = app.request_token(&["--assertion-file", file.to_str().unwrap()]);
    assert_eq!(ran.json()[0]["token_type"], "Bearer");
    let other = app.file("other.jwt", &assertion.replace("eyJ", "eyK"));
    let ran = app.request_token(&["--assertion-file", other.to_str().unwrap()]);
    assert_eq!((ran.code, ran.error()["code"].as_str()), (1, Some("invalid_client")));
}

// As of `--certificate <(openssl …)` in a shell.
#[cfg(unix)]
#[test]
fn app_07_credentials_from_a_pipe() {
    let app = App::new();
    let assertion = app.pipe("assertion", &format!("{}\n", app.assertion()));
    let certificate = app.pipe("certificate", &std::fs::read_to_string(app.certificate()).unwrap());
    for (option, pipe) in [("--assertion-file", assertion), ("--certificate", certificate)] {
        let ran = app.request_token(&[option, pipe.to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{option}: {}", ran.stderr);
    }
}

#[test]
fn app_08_secret_cannot_bind_a_token() {
    let app = App::new();
    let ran = app.request_token(&["--client-secret-env", "APP_SECRET", "--pop"]);
    assert_eq!((ran.error()["code"].as_str(), ran.code), (Some("mtls_certificate_not_provided"), 2));
    assert_eq!(app.env.emulator.journal().entries().len(), 0);
}

#[test]
fn app_14_exactly_one_credential() {
    let app = App::new();
    let file = app.certificate();
    let file = file.to_str().unwrap();
    for more in [
        &[][..],
        &["--certificate", file, "--client-secret-env", "APP_SECRET"],
        &["--certificate", file, "--assertion-file", file],
        &["--client-secret-env", "APP_SECRET", "--assertion-file", file],
        // Options that need a certificate.
        &["--client-secret-env", "APP_SECRET", "--send-x5c"],
        &["--client-secret-env", "APP_SECRET", "--over-mtls"],
        &["--certificate", file, "--over-mtls", "--pop"],
        &["--client-secret-env", "NOT_SET"],
    ] {
        let ran = app.request_token(more);
        assert_eq!((ran.error()["code"].as_str(), ran.code), (Some("invalid_usage"), 2), "{more:?}");
    }
    assert_eq!(app.env.emulator.journal().entries().len(), 0);
}

/// Runs openssl in the folder of the app.
fn openssl(app: &App, arguments: &str) -> Option<()> {
    let mut command = std::process::Command::new("openssl");
    match command.current_dir(app.folder.path()).args(arguments.split(' ')).output() {
        Ok(made) => assert!(made.status.success(), "{arguments}: {made:?}"),
        Err(_) => {
            skip_without("openssl");
            return None;
        }
    }
    Some(())
}

#[test]
fn app_22_to_23_certificate_files() {
    let app = App::new();
    app.certificate();
    let path = |name: &str| app.folder.path().join(name).to_str().unwrap().to_owned();
    for arguments in [
        "pkcs12 -export -in client.pem -out client.pfx -passout pass:s3cr3t",
        "pkcs12 -export -in client.pem -out plain.pfx -passout pass: -keypbe NONE -certpbe NONE -nomac",
        "base64 -in client.pfx -out client.b64",
        "x509 -in client.pem -outform DER -out cert.der",
        "x509 -in client.pem -out cert.pem",
        "pkcs8 -topk8 -nocrypt -in client.pem -outform DER -out key.der",
        "pkcs8 -topk8 -in client.pem -out key.pem -passout pass:s3cr3t",
    ] {
        if openssl(&app, arguments).is_none() {
            return;
        }
    }
    let join = |name: &str, parts: [&str; 2]| {
        let parts: Vec<u8> = parts.into_iter().flat_map(|part| std::fs::read(path(part)).unwrap()).collect();
        std::fs::write(path(name), parts).unwrap();
    };
    join("both.der", ["cert.der", "key.der"]);
    join("encrypted.pem", ["cert.pem", "key.pem"]);
    let run = |file: &str, variable: (&str, &str), more: &[&str]| {
        let emulator = &app.env.emulator;
        let authority = format!("{}/{}", emulator.token_url(), emulator.tenant_id());
        let mut command = app.env.symbolon();
        command.env(variable.0, variable.1).env("HTTPS_PROXY", NOBODY).args(["app-token", "--scope", SCOPE]);
        command.args(["--authority", &authority, "--client-id", CLIENT_ID, "--output", "json"]);
        RunResult::of(command.args(["--certificate", &path(file)]).args(more).output().unwrap())
    };
    let option = ["--certificate-password-env", "PASSWORD"];
    for (file, is_encrypted) in [
        ("client.pem", false),
        ("client.pfx", true),
        ("plain.pfx", false),
        ("client.b64", true),
        ("both.der", false),
        ("encrypted.pem", true),
    ] {
        let ran = run(file, ("PASSWORD", "s3cr3t"), &option);
        assert_eq!(ran.json()[0]["token_type"], "Bearer", "{file}");
        let ran = run(file, ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "s3cr3t"), &["--pop"]);
        assert_eq!(ran.json()[0]["token_type"], "mtls_pop", "{file}");
        if is_encrypted {
            let ran = run(file, ("OTHER", "s3cr3t"), &[]);
            assert!(ran.stderr.contains("--certificate-password-env"), "{file} {}", ran.stderr);
            assert_eq!((ran.code, &ran.error()["code"]), (2, &"invalid_usage".into()));
            let ran = run(file, ("PASSWORD", "wrong"), &option);
            assert!(ran.code == 2 && ran.stderr.contains("is wrong"), "{file} {}", ran.stderr);
        }
    }
    let ran = run("cert.der", ("OTHER", ""), &[]);
    assert!(ran.code == 2 && ran.stderr.contains("there is no private key"), "{}", ran.stderr);
}

#[test]
fn app_24_pasted_secret_is_not_shown() {
    let app = App::new();
    for option in ["--client-secret-env", "--certificate-password-env"] {
        for secret in ["abc8Q~not-a-name", "NotAVariable0123456789"] {
            let more = match option {
                "--client-secret-env" => vec![option, secret],
                _ => vec!["--certificate", "client.pem", option, secret],
            };
            let ran = app.request_token(&more);
            assert_eq!((ran.code, &ran.error()["code"]), (2, &"invalid_usage".into()));
            assert!(ran.stderr.contains(option) && !ran.stderr.contains(secret), "{}", ran.stderr);
        }
    }
}

#[test]
fn app_25_federation_error_names_the_assertion() {
    let app = App::new();
    let claims = json!({
        "iss": "https://token.actions.githubusercontent.com",
        "sub": "repo:contoso-organization/payment-service:ref:refs/heads/main",
        "aud": "api://AzureADTokenExchange",
    });
    let assertion = format!("e30.{}.c2ln", Base64UrlUnpadded::encode_string(claims.to_string().as_bytes()));
    let file = app.file("assertion", &assertion);
    for (code, is_federation) in [(700_213, true), (700_024, true), (700_211, true), (700_016, false)] {
        app.env.emulator.clear_faults();
        app.env.emulator.inject(Fault::oauth_error("invalid_client", &[code]).always());
        let ran = app.request_token(&["--assertion-file", file.to_str().unwrap()]);
        let error = ran.error();
        let message = error["message"].as_str().unwrap();
        for claim in ["iss", "sub", "aud"].map(|name| claims[name].as_str().unwrap()) {
            assert_eq!(message.contains(claim), is_federation, "{message}");
        }
        assert!(!ran.stderr.contains(&assertion), "{}", ran.stderr);
    }
    // A claims challenge has one advice, also with a number of a federated credential.
    app.env.emulator.clear_faults();
    let challenge = json!({
        "error": "interaction_required",
        "error_description": "AADSTS700213: no",
        "error_codes": [700_213],
        "claims": "{\"access_token\":{\"acrs\":{\"essential\":true}}}",
    });
    app.env.emulator.inject(Fault::status(Step::Token, 400).body(challenge.to_string()).always());
    let ran = app.request_token(&["--assertion-file", file.to_str().unwrap()]);
    let message = ran.error()["message"].as_str().unwrap().to_owned();
    assert!(message.ends_with("; repeat the request with the claims of this error"), "{message}");
}
