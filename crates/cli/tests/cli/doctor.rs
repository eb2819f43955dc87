//! `symbolon doctor`.

use serde_json::Value;
use symbolon_emulator::{Source, Step};

use crate::run::{Ran, World, symbolon};

const JSON: [&str; 3] = ["doctor", "--output", "json"];

fn report(ran: &Ran) -> Value {
    let [report] = &ran.json()[..] else { panic!("one line: {ran:?}") };
    report.clone()
}

/// In this world, and without a word to anybody outside of it.
fn doctor(world: &World, arguments: &[&str]) -> Ran {
    let mut command = world.symbolon();
    Ran::of(command.env("HTTPS_PROXY", "http://127.0.0.1:9").args(arguments).output().unwrap())
}

/// On a machine without anything: no answer is waited for, and nothing leaves it.
fn nowhere() -> std::process::Command {
    let mut command = symbolon();
    let nobody = "http://127.0.0.1:9";
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", nobody).env("HTTPS_PROXY", "http://127.0.0.1:9");
    command
}

#[test]
fn a_machine_with_a_metadata_service_is_told_what_it_can_and_nothing_is_made() {
    let world = World::new();
    let report = report(&doctor(&world, &JSON));
    assert_eq!(report["source"]["selected"], "imds");
    assert_eq!(report["source"]["reason"], "nothing names another source");
    let skipped: Vec<_> =
        report["source"]["skipped"].as_array().unwrap().iter().map(|one| &one["source"]).collect();
    assert_eq!(skipped, ["service_fabric", "app_service", "machine_learning", "cloud_shell", "azure_arc"]);
    assert_eq!((&report["imds"]["version"], &report["clock"]["skew_seconds"]), (&2.into(), &0.into()));
    assert!(world.emulator.environment()[0].1.starts_with(report["imds"]["base"].as_str().unwrap()));
    let binding = &report["binding"];
    assert_eq!((&binding["usable"], &binding["strength"]), (&true.into(), &"software".into()));
    let endpoint = &report["endpoints"][0];
    assert!(endpoint["ok"] == true && endpoint["ms"].is_u64() && endpoint["url"] == report["imds"]["base"]);
    assert!(report["advice"][0].as_str().unwrap().contains("--pop"));
    assert_eq!(world.emulator.journal().steps(), [Step::PlatformMetadata]);
    assert!(world.emulator.issued().is_empty());
}

#[test]
fn the_members_are_those_of_the_contract() {
    let report = report(&doctor(&World::new(), &JSON));
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&report), ["advice", "binding", "clock", "endpoints", "imds", "proxy", "source"]);
    assert_eq!(names(&report["source"]), ["reason", "selected", "skipped"]);
    assert_eq!(names(&report["source"]["skipped"][0]), ["reason", "source"]);
    assert_eq!(names(&report["imds"]), ["base", "reasons", "version"]);
    assert_eq!(names(&report["binding"]), ["reason", "strength", "usable"]);
    assert_eq!(names(&report["clock"]), ["skew_seconds"]);
    assert_eq!(names(&report["endpoints"][0]), ["ms", "ok", "reason", "url"]);
}

#[test]
fn every_source_is_explained() {
    let world = World::new();
    for (source, name) in [
        (Source::AppService, "app_service"),
        (Source::ServiceFabric, "service_fabric"),
        (Source::MachineLearning, "machine_learning"),
        (Source::CloudShell, "cloud_shell"),
        (Source::AzureArc, "azure_arc"),
    ] {
        let mut command = symbolon();
        command
            .envs(world.emulator.environment_of(source))
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .args(JSON);
        let report = report(&Ran::of(command.output().unwrap()));
        assert_eq!(report["source"]["selected"], name);
        assert_eq!((&report["imds"]["base"], &report["binding"]["usable"]), (&Value::Null, &false.into()));
        assert_eq!(report["endpoints"][0]["ok"], true, "{name}: {}", report["endpoints"]);
        assert!(report["advice"][0].as_str().unwrap().contains("bearer"), "{name}");
        // No header, key or secret of the host.
        for (variable, value) in world.emulator.environment_of(source) {
            if variable.ends_with("HEADER") || variable.ends_with("SECRET") {
                assert!(!report.to_string().contains(&value), "{name}: {variable}");
            }
        }
    }
    assert_eq!(world.emulator.journal().steps(), []);
}

#[test]
fn a_machine_with_version_1_only_is_told_that_nothing_can_be_bound() {
    let report = report(&doctor(&World::with(|emulator| emulator.v1_only()), &JSON));
    assert_eq!((&report["imds"]["version"], &report["binding"]["usable"]), (&1.into(), &false.into()));
    assert_eq!(report["binding"]["strength"], Value::Null);
    assert!(report["advice"][0].as_str().unwrap().contains("bearer"));
}

#[test]
fn a_machine_without_anything_is_told_what_to_do_and_the_report_is_no_failure() {
    let report = report(&Ran::of(nowhere().args(JSON).output().unwrap()));
    assert_eq!((&report["source"]["selected"], &report["imds"]["version"]), (&Value::Null, &Value::Null));
    assert_eq!(report["clock"]["skew_seconds"], Value::Null);
    assert_eq!(report["proxy"], "127.0.0.1:9");
    assert!(report["endpoints"].as_array().unwrap().iter().all(|endpoint| endpoint["ok"] == false));
    assert!(report["advice"][0].as_str().unwrap().contains("symbolon emulate"));
}

#[test]
fn the_proxy_is_named_without_its_credentials() {
    let mut command = nowhere();
    let ran =
        command.env("HTTPS_PROXY", "http://user:pass-that-no-report-shows@127.0.0.1:9").args(["doctor"]);
    let ran = Ran::of(ran.output().unwrap());
    assert!(ran.stdout.contains("127.0.0.1:9") && !ran.stdout.contains("pass-that"), "{}", ran.stdout);
}

#[test]
fn the_page_fits_on_a_terminal_and_has_no_colour_off_it() {
    for ran in [doctor(&World::new(), &["doctor"]), Ran::of(nowhere().arg("doctor").output().unwrap())] {
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
        assert!(!ran.stdout.contains('\u{1b}') && ran.stdout.contains("metadata service"), "{}", ran.stdout);
    }
}

#[test]
fn a_setting_that_cannot_be_read_is_said_in_a_line() {
    for (name, value) in [
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "not a url"),
        ("AZURE_AUTHORITY_HOST", "not a url"),
        ("HTTPS_PROXY", "socks5://127.0.0.1:9"),
    ] {
        let ran = Ran::of(symbolon().env(name, value).args(JSON).output().unwrap());
        assert_eq!(ran.code, 2, "{name}: {ran:?}");
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
}
