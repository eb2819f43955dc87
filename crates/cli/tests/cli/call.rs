//! `symbolon call`.

use serde_json::Value;
use symbolon_emulator::{Fault, Step};

use crate::origin::Origin;
use crate::run::{RunResult, TestEnv};

fn call(env: &TestEnv, url: &str, more: &[&str]) -> RunResult {
    let token_request = ["call", url, "--resource", "https://vault.azure.net", "--key", "p-256"];
    env.run(&[&token_request, more].concat())
}

#[test]
fn call_02_bound_call_presents_the_certificate() {
    let env = TestEnv::new();
    let ran = call(&env, env.emulator.resource_url(), &["--pop"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let body: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(body["bound"], true);
    let journal = env.emulator.journal();
    let request = journal.last(Step::Resource).unwrap();
    assert_eq!(request.authorization, Some("mtls_pop"));
    assert_eq!(request.certificate(), Some(env.emulator.issued()[0].thumbprint));
}

#[test]
fn call_01_bearer_call_has_no_certificate() {
    let env = TestEnv::new();
    let ran = call(&env, env.emulator.resource_url(), &[]);
    let body: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &body["bound"]), (0, &Value::Bool(false)));
    let journal = env.emulator.journal();
    assert_eq!(journal.last(Step::Resource).unwrap().certificate(), None);
}

#[test]
fn call_03_to_04_method_and_headers() {
    let env = TestEnv::new();
    let url = env.emulator.resource_url();
    for (more, method) in [
        (&[][..], "GET"),
        (&["-X", "DELETE"], "DELETE"),
        (&["-d", "{}"], "POST"),
        (&["-d", "{}", "-X", "PUT"], "PUT"),
    ] {
        assert_eq!(call(&env, url, more).code, 0);
        let journal = env.emulator.journal();
        assert_eq!(journal.last(Step::Resource).unwrap().method, method);
    }
    call(&env, url, &["-H", "x-ms-tokenboundauth: true", "-H", "Accept:text/html"]);
    let journal = env.emulator.journal();
    let request = journal.last(Step::Resource).unwrap();
    assert_eq!(request.header("x-ms-tokenboundauth"), Some("true"));
    assert_eq!(request.header("accept"), Some("text/html"));
}

#[test]
fn call_05_request_body() {
    let Some(origin) = Origin::start() else { return };
    let env = TestEnv::new();
    let ran = call(&env, &origin.url, &["--ca-file", &origin.ca_file, "-d", "a=1&b=%20\n{}"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let request = origin.request();
    assert_eq!((&request["method"], &request["body"]), (&"POST".into(), &"a=1&b=%20\n{}".into()));
    assert_eq!(request["headers"]["content-length"], "12");
}

#[test]
fn call_07_to_08_response_body_is_unchanged() {
    for (status, body) in
        [(200, &b"\x00\xff no text\r\n\n"[..]), (201, b"without a newline"), (204, b""), (299, b"\n")]
    {
        let fault = Fault::status(Step::Resource, status).body(body);
        let env = TestEnv::with(|emulator| emulator.fault(fault));
        let url = env.emulator.resource_url();
        let token_request = ["call", url, "--resource", "https://vault.azure.net"];
        let output = env.symbolon().args(token_request).output().unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), body), "{status}");
    }
}

#[test]
fn call_06_status_line_and_headers() {
    let env = TestEnv::new();
    let ran = call(&env, env.emulator.resource_url(), &["--include"]);
    assert!(ran.stdout.starts_with("HTTP/1.1 200 OK\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("content-type: application/json"), "{}", ran.stdout);
}

#[test]
fn call_09_error_prints_the_body() {
    for status in [300, 302, 400, 401, 403, 404, 500, 503] {
        let fault = Fault::status(Step::Resource, status).body("forbidden").always();
        let env = TestEnv::with(|emulator| emulator.fault(fault));
        let ran = call(&env, env.emulator.resource_url(), &["--pop", "--output", "json"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, "forbidden"), "{status}");
        let error: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["status"]),
            (&"resource_refused".into(), &status.into())
        );
    }
}

#[test]
fn no_token_is_requested_without_tls() {
    let env = TestEnv::new();
    let ran = call(&env, "http://vault.example/", &["--output", "json"]);
    assert_eq!((ran.error()["code"].as_str(), ran.code), (Some("insecure_endpoint"), 2));
    assert_eq!(env.emulator.journal().entries().len(), 0);
}

#[test]
fn call_11_refusal_has_id_and_message() {
    for (body, message) in [
        (
            r#"{"error":{"code":"Forbidden","message":"no role","innererror":{"code":"AccessDenied"}}}"#,
            "Forbidden; no role; AccessDenied",
        ),
        ("no role", "no role"),
    ] {
        let fault = Fault::status(Step::Resource, 403).body(body).always();
        let env = TestEnv::with(|emulator| emulator.fault(fault));
        let ran = call(&env, env.emulator.resource_url(), &["--output", "json"]);
        let error: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        let error = &error["error"];
        assert_eq!((&error["service_message"], &error["status"]), (&message.into(), &403.into()));
        assert!(error["message"].as_str().unwrap().contains("roles"), "{error}");
        let journal = env.emulator.journal();
        let sent = journal.last(Step::Resource).unwrap();
        let sent = sent.header("x-ms-client-request-id").unwrap();
        assert_eq!((error["correlation_id"].as_str(), sent.len()), (Some(sent), 36));
    }
    let env = TestEnv::new();
    let id = "751a212b-4003-416e-b600-e1f48e40db9f";
    let header = format!("x-ms-client-request-id: {id}");
    // The emulator refuses a bound token without its certificate's scheme.
    let url = env.emulator.resource_url();
    let ran =
        env.run(&["call", url, "--resource", "https://other.example", "-H", &header, "--output", "json"]);
    let journal = env.emulator.journal();
    assert_eq!(journal.last(Step::Resource).unwrap().header("x-ms-client-request-id"), Some(id), "{ran:?}");
    // Without a response, the resource may still have logged it.
    let ran = call(&env, "https://127.0.0.1:9/", &["-H", &header, "--output", "json"]);
    let error = ran.error();
    assert_eq!((&error["code"], &error["correlation_id"]), (&"transport_error".into(), &id.into()));
}

/// The challenge of a 401 describes the refusal, and the token in it is hidden.
#[test]
fn call_11_challenge_is_described() {
    let Some(origin) = Origin::start() else { return };
    let env = TestEnv::new();
    let ran = call(&env, &origin.url, &["--ca-file", &origin.ca_file]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let request = origin.request();
    assert_eq!(request["headers"]["x-ms-client-request-id"].as_str().map(str::len), Some(36));
    let fault = Fault::status(Step::Resource, 401)
        .header(
            "www-authenticate",
            r#"Bearer error="invalid_token", error_description="the audience is wrong""#,
        )
        .body("{}")
        .always();
    let env = TestEnv::with(|emulator| emulator.fault(fault));
    let ran = call(&env, env.emulator.resource_url(), &["--output", "json"]);
    let error: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["service_message"], "the audience is wrong");
}

#[test]
fn call_12_openssl_needs_its_feature() {
    let env = TestEnv::new();
    let ran = call(&env, env.emulator.resource_url(), &["--tls", "openssl", "--pop", "--output", "json"]);
    if cfg!(feature = "openssl") {
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let body: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(body["bound"], Value::Bool(true));
        return;
    }
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("transport_unsupported"), "{}", ran.stderr);
    assert!(ran.stderr.contains("feature `openssl`"), "{}", ran.stderr);
    assert_eq!(env.emulator.journal().count(Step::Token), 0, "no token was requested");
}

/// A trusted certificate of an authority is none of a server.
#[test]
fn cli_06_authority_is_no_server() {
    let Some(origin) = Origin::with_authority_certificate() else { return };
    let ran = call(&TestEnv::new(), &origin.url, &["--ca-file", &origin.ca_file, "--output", "json"]);
    let message = ran.error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("basicConstraints CA:TRUE") && !message.contains("--ca-file"), "{message}");
}
