//! `symbolon proxy` for applications.

use std::path::Path;

use rustix::process::Signal;
use symbolon::Thumbprint;
use symbolon_emulator::Step;

use crate::app::{App, CLIENT_ID};
use crate::proxy::{RunningProxy, refused};
use crate::run::signal;
use crate::running::{RESOURCE, RunningServer};

/// Runs the proxy for the application of an emulator.
fn of_application(app: &App, more: &[&str]) -> RunningProxy {
    let authority = app.authority();
    let application = ["--authority", &authority, "--client-id", CLIENT_ID];
    let to = ["--to", app.env.emulator.resource_url(), "--resource", RESOURCE];
    RunningProxy::start(&app.env, &[&to[..], &application, more].concat())
}

/// Returns the certificate in a PEM file.
fn certificate_in(file: &Path) -> Vec<u8> {
    let text = std::fs::read_to_string(file).unwrap();
    let end = text.find("-----BEGIN PRIVATE KEY").unwrap();
    pem_rfc7468::decode_vec(&text.as_bytes()[..end]).unwrap().1
}

#[test]
fn prx_15_application_with_a_certificate() {
    let app = App::new();
    let file = app.certificate();
    let proxy = of_application(&app, &["--certificate", file.to_str().unwrap(), "--pop"]);
    let call = || {
        let (status, seen) = proxy.get("/path");
        let expected = (200, &"mtls_pop".into(), &true.into(), &CLIENT_ID.into());
        assert_eq!((status, &seen["scheme"], &seen["bound"], &seen["appid"]), expected, "{seen}");
        let journal = app.env.emulator.journal();
        let [token, call] =
            [Step::Token, Step::Resource].map(|step| journal.last(step).unwrap().certificate());
        assert!(token.is_some() && token == call, "the certificate of the application");
        token.unwrap()
    };
    let before = Thumbprint::of(&certificate_in(&file));
    // Another program replaces the file before the first request.
    let file = app.certificate();
    app.env.emulator.revoke(before);
    let present = Thumbprint::of(&certificate_in(&file));
    assert_eq!((call(), call()), (present, present));
    assert_eq!(app.env.emulator.journal().count(Step::Token), 1);
    assert_eq!(app.env.emulator.journal().count(Step::IssueCredential), 0, "no managed identity");
    let status = proxy.get("/.symbolon/readyz").1;
    assert_eq!(status["ready"][0]["identity"], format!("application:{CLIENT_ID}"), "{status}");
}

#[test]
fn prx_15_other_credentials_of_applications() {
    let app = App::new();
    let assertion = app.file("assertion", &app.assertion());
    let bound = ["--assertion-file", assertion.to_str().unwrap()];
    let proxy = of_application(&app, &bound);
    let (status, seen) = proxy.get("/");
    assert_eq!((status, &seen["scheme"], &seen["appid"]), (200, &"Bearer".into(), &CLIENT_ID.into()));
    let authority = app.authority();
    let to = ["--to", app.env.emulator.resource_url(), "--resource", RESOURCE, "--pop"];
    let application = ["--authority", &authority, "--client-id", CLIENT_ID];
    let ran = refused(&app.env, &[&to[..], &application, &bound].concat());
    assert_eq!((ran.code, ran.error()["code"].as_str()), (2, Some("mtls_certificate_not_provided")));
    let file = app.certificate();
    let hardware = ["--certificate", file.to_str().unwrap(), "--min-strength", "hardware"];
    let ran = refused(&app.env, &[&to[..], &application, &hardware].concat());
    assert_eq!((ran.code, ran.error()["code"].as_str()), (3, Some("min_strength_not_met")));
}

// The first route has all settings, the second one those of the variables, the third one a managed
// identity.
#[test]
fn prx_15_applications_in_a_file() {
    let app = App::new();
    let certificate = app.certificate();
    let (authority, to) = (app.authority(), app.env.emulator.resource_url());
    let route = |path: &str, more: &str| {
        format!("[[routes]]\npath = \"{path}\"\nto = \"{to}\"\nresource = \"{RESOURCE}\"\n{more}\n")
    };
    let application = format!(
        "pop = true\n[routes.application]\nauthority = \"{authority}\"\nclient_id = \"{CLIENT_ID}\"\n\
         certificate = \"{}\"\n",
        certificate.display()
    );
    let text = [route("/all", &application), route("/variables", "application = {}"), route("/managed", "")];
    let file = app.file("routes.toml", &text.concat());
    let mut command = app.env.symbolon();
    command.envs([
        ("AZURE_AUTHORITY_HOST", app.env.emulator.token_url()),
        ("AZURE_TENANT_ID", app.env.emulator.tenant_id()),
        ("AZURE_CLIENT_ID", CLIENT_ID),
        ("AZURE_CLIENT_SECRET", "p@ss&word"),
    ]);
    command.args(["proxy", "--key", "p-256", "--output", "json", "--config"]).arg(&file);
    let mut proxy = RunningProxy(RunningServer::start(command));
    for (path, scheme, client) in [
        ("/all", "mtls_pop", CLIENT_ID),
        ("/variables", "Bearer", CLIENT_ID),
        ("/managed", "Bearer", app.env.emulator.client_id()),
    ] {
        let (status, seen) = proxy.get(path);
        assert_eq!(
            (status, &seen["scheme"], &seen["appid"]),
            (200, &scheme.into(), &client.into()),
            "{seen}"
        );
    }
    let before = app.env.emulator.journal().count(Step::Token);
    signal(&proxy.0.command.0, Signal::HUP);
    proxy.wait_for("the routes were read again");
    assert_eq!((proxy.get("/all").0, app.env.emulator.journal().count(Step::Token)), (200, before), "kept");
    let (_, log) = proxy.stop(Signal::TERM);
    assert!(!log.contains("p@ss") && !log.contains("eyJ"), "{log}");
}
