//! `symbolon call`.

use serde_json::Value;
use symbolon_emulator::{Fault, Step};

use crate::run::{Ran, World};

fn call(world: &World, url: &str, more: &[&str]) -> Ran {
    let ask = ["call", url, "--resource", "https://vault.azure.net", "--key", "p-256"];
    world.run(&[&ask, more].concat())
}

#[test]
fn a_bound_call_presents_the_certificate_and_prints_the_body() {
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
fn a_bearer_call_presents_none() {
    let world = World::new();
    let ran = call(&world, world.emulator.resource_url(), &[]);
    let body: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &body["bound"]), (0, &Value::Bool(false)));
    let journal = world.emulator.journal();
    assert_eq!(journal.last(Step::Resource).unwrap().certificate(), None);
}

#[test]
fn method_headers_and_body_are_sent() {
    let world = World::new();
    let url = world.emulator.resource_url();
    for (more, method) in [
        (&["-X", "DELETE"][..], "DELETE"),
        (&["-d", "{}", "-H", "content-type: application/json"], "POST"),
        (&["-d", "{}", "-X", "PUT"], "PUT"),
    ] {
        assert_eq!(call(&world, url, more).code, 0);
        let journal = world.emulator.journal();
        assert_eq!(journal.last(Step::Resource).unwrap().method(), method);
    }
    let tokenbound = ["-H", "x-ms-tokenboundauth: true"];
    call(&world, url, &tokenbound);
    assert_eq!(
        world.emulator.journal().last(Step::Resource).unwrap().header("x-ms-tokenboundauth"),
        Some("true")
    );
}

#[test]
fn status_line_and_headers_are_printed_on_request() {
    let world = World::new();
    let ran = call(&world, world.emulator.resource_url(), &["--include"]);
    assert!(ran.stdout.starts_with("HTTP/1.1 200 OK\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("content-type: application/json"), "{}", ran.stdout);
}

#[test]
fn a_refusal_prints_the_body_and_exits_with_1() {
    let world = World::with(|emulator| emulator.fault(Fault::status(Step::Resource, 403).body("forbidden")));
    let ran = call(&world, world.emulator.resource_url(), &["--pop", "--output", "json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "forbidden\n"));
    let error: Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&error["error"]["code"], &error["error"]["status"]),
        (&"resource_refused".into(), &403.into())
    );
}

#[test]
fn a_token_is_not_even_asked_for_to_be_sent_without_tls() {
    let world = World::new();
    let ran = call(&world, "http://vault.example/", &["--output", "json"]);
    assert_eq!((ran.error()["code"].as_str(), ran.code), (Some("insecure_endpoint"), 2));
    assert_eq!(world.emulator.journal().entries().len(), 0);
}
