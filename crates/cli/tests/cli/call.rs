//! `symbolon call`.

use serde_json::Value;
use symbolon_emulator::{Fault, Step};

use crate::origin::Origin;
use crate::run::{Ran, World};

fn call(world: &World, url: &str, more: &[&str]) -> Ran {
    let ask = ["call", url, "--resource", "https://vault.azure.net", "--key", "p-256"];
    world.run(&[&ask, more].concat())
}

#[test]
fn call_02_a_bound_call_presents_the_certificate_and_prints_the_body() {
    let world = World::new();
    let ran = call(&world, world.emulator.resource_url(), &["--pop"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let body: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(body["bound"], true);
    let journal = world.emulator.journal();
    let request = journal.last(Step::Resource).unwrap();
    assert_eq!(request.authorization_scheme(), Some("mtls_pop"));
    assert_eq!(request.certificate(), Some(world.emulator.issued()[0].thumbprint()));
}

#[test]
fn call_01_a_bearer_call_presents_none() {
    let world = World::new();
    let ran = call(&world, world.emulator.resource_url(), &[]);
    let body: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &body["bound"]), (0, &Value::Bool(false)));
    let journal = world.emulator.journal();
    assert_eq!(journal.last(Step::Resource).unwrap().certificate(), None);
}

#[test]
fn call_03_to_04_method_and_headers_are_sent() {
    let world = World::new();
    let url = world.emulator.resource_url();
    for (more, method) in [
        (&[][..], "GET"),
        (&["-X", "DELETE"], "DELETE"),
        (&["-d", "{}"], "POST"),
        (&["-d", "{}", "-X", "PUT"], "PUT"),
    ] {
        assert_eq!(call(&world, url, more).code, 0);
        let journal = world.emulator.journal();
        assert_eq!(journal.last(Step::Resource).unwrap().method(), method);
    }
    call(&world, url, &["-H", "x-ms-tokenboundauth: true", "-H", "Accept:text/html"]);
    let journal = world.emulator.journal();
    let request = journal.last(Step::Resource).unwrap();
    assert_eq!(request.header("x-ms-tokenboundauth"), Some("true"));
    assert_eq!(request.header("accept"), Some("text/html"));
}

#[test]
fn call_05_the_body_is_sent_as_it_is() {
    let Some(origin) = Origin::start() else { return };
    let world = World::new();
    let ran = call(&world, &origin.url, &["--ca-file", &origin.ca_file, "-d", "a=1&b=%20\n{}"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let request = origin.request();
    assert_eq!((&request["method"], &request["body"]), (&"POST".into(), &"a=1&b=%20\n{}".into()));
    assert_eq!(request["headers"]["content-length"], "12");
}

#[test]
fn call_07_to_08_the_body_of_a_success_is_printed_octet_by_octet() {
    for (status, body) in
        [(200, &b"\x00\xff no text\r\n\n"[..]), (201, b"without a newline"), (204, b""), (299, b"\n")]
    {
        let fault = Fault::status(Step::Resource, status).body(body);
        let world = World::with(|emulator| emulator.fault(fault));
        let url = world.emulator.resource_url();
        let ask = ["call", url, "--resource", "https://vault.azure.net"];
        let output = world.symbolon().args(ask).output().unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), body), "{status}");
    }
}

#[test]
fn call_06_status_line_and_headers_are_printed_on_request() {
    let world = World::new();
    let ran = call(&world, world.emulator.resource_url(), &["--include"]);
    assert!(ran.stdout.starts_with("HTTP/1.1 200 OK\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("content-type: application/json"), "{}", ran.stdout);
}

#[test]
fn call_09_a_refusal_prints_the_body_and_exits_with_1() {
    for status in [300, 302, 400, 401, 403, 404, 500, 503] {
        let fault = Fault::status(Step::Resource, status).body("forbidden").always();
        let world = World::with(|emulator| emulator.fault(fault));
        let ran = call(&world, world.emulator.resource_url(), &["--pop", "--output", "json"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, "forbidden"), "{status}");
        let error: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&error["error"]["code"], &error["error"]["status"]),
            (&"resource_refused".into(), &status.into())
        );
    }
}

#[test]
fn a_token_is_not_even_asked_for_to_be_sent_without_tls() {
    let world = World::new();
    let ran = call(&world, "http://vault.example/", &["--output", "json"]);
    assert_eq!((ran.error()["code"].as_str(), ran.code), (Some("insecure_endpoint"), 2));
    assert_eq!(world.emulator.journal().entries().len(), 0);
}
