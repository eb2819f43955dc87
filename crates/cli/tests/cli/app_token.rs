//! `symbolon app-token`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};
use symbolon_emulator::{Fault, Step};

use crate::app::{App, CLIENT_ID, NOBODY, SCOPE};
use crate::run::{ERROR_MEMBERS, RunResult};

/// A proxy that refuses every connection and records the requested hosts.
fn refusing_proxy(run: impl FnOnce(String)) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = std::thread::spawn(move || {
        let mut requested = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let Some(target) = lines.first().and_then(|line| line.strip_prefix("CONNECT ")) else { break };
            requested.push(target.split(' ').next().unwrap().to_owned());
            stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
        requested
    });
    run(format!("http://{address}"));
    TcpStream::connect(address).unwrap().write_all(b"done\r\n\r\n").unwrap();
    proxy.join().unwrap()
}

#[test]
fn app_09_to_11_claims_and_capabilities() {
    let app = App::new();
    let claims = r#"{"access_token":{"nbf":{"value":"1"}}}"#;
    let client_claims = r#"{"access_token":{"xms_az_nwperimid":{"values":["p"]}}}"#;
    let claims = ["--claims", claims, "--client-claims", client_claims];
    let capabilities = ["--capability", "cp1", "--capability", "cp2"];
    let ran =
        app.request_token(&[&["--client-secret-env", "APP_SECRET"][..], &claims, &capabilities].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let journal = app.env.emulator.journal();
    let sent: Value =
        serde_json::from_str(journal.last(Step::Token).unwrap().form("claims").unwrap()).unwrap();
    let expected = json!({ "access_token": {
        "nbf": { "value": "1" },
        "xms_az_nwperimid": { "values": ["p"] },
        "xms_cc": { "values": ["cp1", "cp2"] },
    } });
    assert_eq!(sent, expected);
}

#[test]
fn app_12_host_of_the_region() {
    let mut app = App::new();
    let file = app.certificate();
    let authority = "https://login.microsoftonline.com/contoso.example";
    for (more, host) in [
        (&[][..], "login.microsoftonline.com:443"),
        (&["--region", "westus2"], "westus2.login.microsoft.com:443"),
        (&["--pop"], "mtlsauth.microsoft.com:443"),
        (&["--pop", "--region", "westus2"], "westus2.mtlsauth.microsoft.com:443"),
    ] {
        let requested = refusing_proxy(|proxy| {
            app.proxy = Some(proxy);
            let ran = app.ask_at(authority, &[&["--certificate", file.to_str().unwrap()], more].concat());
            assert_eq!((ran.error()["code"].as_str(), ran.code), (Some("transport_error"), 1), "{more:?}");
        });
        assert!(
            !requested.is_empty() && requested.iter().all(|requested| requested == host),
            "{more:?} {requested:?}"
        );
    }
}

#[test]
fn app_13_unknown_authority_is_validated() {
    let mut app = App::new();
    for (more, first) in [
        (&[][..], "login.microsoftonline.com:443"),
        (&["--no-instance-discovery"], "login.private.example:443"),
    ] {
        let requested = refusing_proxy(|proxy| {
            app.proxy = Some(proxy);
            let secret = ["--client-secret-env", "APP_SECRET"];
            let ran = app.ask_at("https://login.private.example/contoso.example", &[&secret, more].concat());
            assert_eq!(ran.code, 1, "{}", ran.stderr);
        });
        assert_eq!(requested.first().map(String::as_str), Some(first), "{more:?} {requested:?}");
        let is_validated = requested.contains(&"login.microsoftonline.com:443".to_owned());
        assert_eq!(is_validated, more.is_empty(), "{requested:?}");
    }
}

#[test]
fn app_15_members_of_a_token() {
    let app = App::new();
    let file = app.certificate();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for kind in [&[][..], &["--pop"]] {
        let own =
            app.request_token(&[&["--certificate", file.to_str().unwrap()], kind].concat()).json().remove(0);
        let token_request =
            ["token", "--resource", "https://vault.example", "--key", "p-256", "--output", "json"];
        let others = app.env.run(&[&token_request, kind].concat()).json().remove(0);
        assert_eq!(names(&own), names(&others), "{kind:?}");
        assert_eq!(own["resource"], SCOPE);
        assert_eq!((&own["client_id"], &own["source"]), (&CLIENT_ID.into(), &"network".into()));
        assert_eq!(own["tenant_id"], app.env.emulator.tenant_id());
        if !kind.is_empty() {
            assert_eq!(names(&own["binding"]), names(&others["binding"]));
        }
    }
}

/// The message and the entry of its number both name the remedy.
#[test]
fn app_16_refusals_name_the_remedy() {
    let app = App::new();
    let emulator = &app.env.emulator;
    let authority = format!("{}/{}", emulator.token_url(), emulator.tenant_id());
    let secret = ["--client-secret-env", "APP_SECRET"];
    for (client_id, scope, code, number, remedy) in [
        (CLIENT_ID, "https://vault.azure.net", "invalid_scope", 1_002_012, "/.default"),
        ("unregistered", SCOPE, "unauthorized_client", 700_016, "check the client id"),
    ] {
        let ran = app.ask(&authority, client_id, scope, &secret);
        let error = ran.error();
        assert_eq!((&error["code"], &error["error_codes"]), (&code.into(), &json!([number])));
        assert!(error["message"].as_str().unwrap().contains(remedy), "{error}");
        let help = format!("symbolon explain AADSTS{number}");
        assert!(ran.stderr.contains(&help), "{}", ran.stderr);
        let explained = app.env.run(&["explain", &number.to_string()]).stdout;
        assert!(explained.contains(remedy), "{explained}");
    }
}

#[test]
fn app_16_errors_as_of_token() {
    let app = App::new();
    let certificate = app.certificate();
    let certificate = certificate.to_str().unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for (fault, more, code, exit) in [
        (Some(Fault::oauth_error("invalid_client", &[7_000_215]).always()), &[][..], "invalid_client", 1),
        (Some(Fault::oauth_error("made_up", &[1])), &[], "made_up", 1),
        (Some(Fault::downgrade_to_bearer()), &["--pop"], "token_type_mismatch", 1),
        (Some(Fault::oversized_body(Step::Token)), &[], "response_too_large", 1),
        (Some(Fault::malformed_json(Step::Token)), &[], "invalid_response", 1),
        (Some(Fault::stall(Step::Token)), &["--timeout", "0.3"], "timeout", 1),
        (Some(Fault::reset(Step::Token).always()), &[], "transport_error", 1),
        (None, &["--region", "west us/"], "invalid_region", 2),
        (None, &["--claims", "["], "invalid_claims", 2),
        (None, &["--bogus"], "invalid_usage", 2),
    ] {
        app.env.emulator.clear_faults();
        fault.into_iter().for_each(|fault| app.env.emulator.inject(fault));
        let ran = app.request_token(&[&["--certificate", certificate], more].concat());
        let error = ran.error();
        assert_eq!((error["code"].as_str(), ran.code), (Some(code), exit), "{more:?} {}", ran.stderr);
        assert_eq!(names(&error), ERROR_MEMBERS, "{more:?}");
    }
}

#[test]
fn app_17_to_18_loopback_authority_keeps_its_host() {
    let mut app = App::new();
    let file = app.certificate();
    let emulator = app.env.emulator.token_url().to_owned();
    let tenant = app.env.emulator.tenant_id().to_owned();
    for url in [emulator.clone(), emulator.replace("127.0.0.1", "localhost")] {
        // The emulator rejects an assertion with the audience `localhost`.
        let kinds = if url == emulator { &["--pop", "--over-mtls"][..] } else { &["--pop"] };
        for more in kinds {
            for region in [&[][..], &["--region", "westus2"]] {
                let authority = format!("{url}/{tenant}");
                let requested = refusing_proxy(|proxy| {
                    app.proxy = Some(proxy);
                    let token_request = ["--certificate", file.to_str().unwrap(), more];
                    let ran = app.ask_at(&authority, &[&token_request, region].concat());
                    assert_eq!(ran.code, 0, "{authority} {more} {}", ran.stderr);
                });
                assert_eq!(requested, Vec::<String>::new(), "nobody else was requested");
                let journal = app.env.emulator.journal();
                let request = journal.last(Step::Token).unwrap();
                assert_eq!(request.header("host"), url.strip_prefix("https://"), "{more}");
                assert!(request.certificate().is_some(), "{more}");
            }
        }
    }
}

/// Text that was copied with a line break or in quotes never reaches the token service.
#[test]
fn app_19_copied_input_is_checked() {
    let app = App::new();
    let emulator = &app.env.emulator;
    let authority = format!("{}/{}", emulator.token_url(), emulator.tenant_id());
    let quoted = format!("\"{CLIENT_ID}\"");
    for (client_id, scope, secret, named) in [
        (CLIENT_ID, SCOPE, "p@ss&word\n", "OTHER: the client secret ends with a line break"),
        (CLIENT_ID, SCOPE, "\u{feff}p@ss&word", "OTHER: the client secret begins with a byte order mark"),
        (&*quoted, SCOPE, "p@ss&word", "--client-id: the client id is in quotes"),
        (CLIENT_ID, "\"https://vault.example/.default\"", "p@ss&word", "the scope has quotes"),
    ] {
        let mut command = app.env.symbolon();
        command.args(["app-token", "--authority", &authority, "--client-id", client_id, "--scope", scope]);
        command.args(["--client-secret-env", "OTHER", "--output", "json"]).env("OTHER", secret);
        let ran = RunResult::of(command.output().unwrap());
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(named) && !ran.stderr.contains("p@ss"), "{}", ran.stderr);
    }
    assert_eq!(emulator.journal().entries().len(), 0);
}

#[test]
fn app_20_authority_without_scheme() {
    let app = App::new();
    let emulator = &app.env.emulator;
    let host = emulator.token_url().strip_prefix("https://").unwrap();
    let ran = app.ask_at(&format!("{host}/{}", emulator.tenant_id()), &["--client-secret-env", "APP_SECRET"]);
    assert_eq!(ran.json()[0]["token_type"], "Bearer");
}

/// Runs without the options, with these variables.
fn app_token_from(app: &App, variables: &[(&str, &str)], more: &[&str]) -> RunResult {
    let mut command = app.env.symbolon();
    command.envs(variables.iter().copied()).env("HTTPS_PROXY", NOBODY);
    command.args(["app-token", "--scope", SCOPE, "--output", "json"]).args(more);
    RunResult::of(command.output().unwrap())
}

#[test]
fn app_21_variables_are_defaults() {
    let app = App::new();
    let emulator = &app.env.emulator;
    let file = app.certificate();
    let file = file.to_str().unwrap();
    let host = emulator.token_url().strip_prefix("https://").unwrap();
    let client = [
        ("AZURE_TENANT_ID", emulator.tenant_id()),
        ("AZURE_AUTHORITY_HOST", emulator.token_url()),
        ("AZURE_CLIENT_ID", CLIENT_ID),
    ];
    let secret = ("AZURE_CLIENT_SECRET", "p@ss&word");
    let certificate = ("AZURE_CLIENT_CERTIFICATE_PATH", file);
    let chain = ("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "true");
    for (variables, more, token_type, parameter, note) in [
        (&[secret][..], &[][..], "Bearer", "client_secret", ""),
        (&[certificate], &[], "Bearer", "client_assertion", ""),
        (&[certificate, chain], &[], "Bearer", "client_assertion", ""),
        (&[certificate], &["--pop"], "mtls_pop", "client_id", ""),
        (
            &[secret, certificate],
            &[],
            "Bearer",
            "client_secret",
            "note: AZURE_CLIENT_CERTIFICATE_PATH is not used: AZURE_CLIENT_SECRET comes first\n",
        ),
        (&[secret, certificate], &["--over-mtls"], "Bearer", "client_id", ""),
        (&[secret], &["--certificate", file], "Bearer", "client_assertion", ""),
        (&[secret, ("AZURE_AUTHORITY_HOST", host)], &[], "Bearer", "client_secret", ""),
    ] {
        let ran = app_token_from(&app, &[&client, variables].concat(), more);
        assert_eq!(ran.json()[0]["token_type"], token_type, "{variables:?} {more:?}");
        assert_eq!(ran.stderr, note);
        let journal = emulator.journal();
        let request = journal.last(Step::Token).unwrap();
        assert!(request.form_names().any(|name| name == parameter), "{variables:?} {more:?}");
    }
    // Options count more, and an option of certificates needs one.
    let ran = app_token_from(&app, &[&client[..], &[secret]].concat(), &["--client-id", "other"]);
    assert_eq!(ran.error()["code"], "unauthorized_client");
    let ran = app_token_from(&app, &[&client[..], &[secret]].concat(), &["--over-mtls"]);
    assert!(ran.code == 2 && ran.stderr.contains("--over-mtls needs a certificate"), "{}", ran.stderr);
    // The path of the host would name the tenant.
    let other = format!("{}/fabrikam.example", emulator.token_url());
    let variables = [&client[..], &[secret, ("AZURE_AUTHORITY_HOST", &other)]].concat();
    let ran = app_token_from(&app, &variables, &[]);
    assert_eq!((ran.code, &ran.error()["code"]), (2, &"invalid_authority".into()));
    assert!(ran.stderr.contains("AZURE_AUTHORITY_HOST: the authority has a path"), "{}", ran.stderr);
    let closed = [&client[..], &[secret, ("AZURE_AUTHORITY_HOST", "https://127.0.0.1:9")]].concat();
    let message = app_token_from(&app, &closed, &[]).error()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("AZURE_AUTHORITY_HOST: ") && message.contains("127.0.0.1:9"), "{message}");
    let quoted = [&client[1..], &[secret, ("AZURE_TENANT_ID", "'contoso.example'")]].concat();
    let ran = app_token_from(&app, &quoted, &[]);
    assert_eq!((ran.code, &ran.error()["code"]), (2, &"invalid_tenant".into()));
    assert!(ran.stderr.contains("AZURE_TENANT_ID: the tenant is in quotes"), "{}", ran.stderr);
    let ran = app_token_from(&app, &[], &[]);
    for name in ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"] {
        assert!(ran.code == 2 && ran.stderr.contains(name), "{}", ran.stderr);
    }
    let help = app.env.run(&["app-token", "--help"]).stdout;
    for (name, _) in client.iter().chain(&[secret, certificate, chain]) {
        assert!(help.contains(name), "{name}: {help}");
    }
}
