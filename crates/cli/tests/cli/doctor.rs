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
fn doc_01_the_metadata_service_is_the_source_where_nothing_names_another() {
    let report = report(&doctor(&World::new(), &JSON));
    assert_eq!(report["source"]["selected"], "imds");
    assert_eq!(report["source"]["reason"], "nothing names another source");
}

#[test]
fn doc_03_to_04_a_machine_with_a_metadata_service_is_told_what_it_can() {
    let world = World::new();
    let report = report(&doctor(&world, &JSON));
    let skipped = report["source"]["skipped"].as_array().unwrap();
    let names: Vec<_> = skipped.iter().map(|one| &one["source"]).collect();
    assert_eq!(names, ["service_fabric", "app_service", "machine_learning", "cloud_shell", "azure_arc"]);
    assert!(skipped.iter().all(|one| one["reason"].as_str().unwrap().contains("not set")), "{skipped:?}");
    assert_eq!(
        (&report["imds"]["version"], &report["imds"]["base"]),
        (&2.into(), &world.emulator.imds_url().into())
    );
    assert!(report["imds"]["reasons"][0].as_str().unwrap().starts_with("version 2: "), "{report}");
}

#[test]
fn doc_07_what_tokens_can_be_bound_to_is_told() {
    let names = |binding: &Value| binding.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for (world, usable, strength, reason) in [
        (World::new(), true, "software".into(), "the metadata service issues certificates to bind tokens to"),
        (
            World::with(|emulator| emulator.v1_only()),
            false,
            Value::Null,
            "the metadata service has version 1 only",
        ),
    ] {
        let binding = report(&doctor(&world, &JSON))["binding"].clone();
        assert_eq!(names(&binding), ["reason", "strength", "usable"]);
        assert_eq!((&binding["usable"], &binding["strength"]), (&usable.into(), &strength), "{binding}");
        assert_eq!(binding["reason"], reason);
    }
}

#[test]
fn doc_08_the_clock_is_compared_with_the_metadata_services() {
    for ahead in [600, 0, -600] {
        // Whoever is compared with is behind by as much as this machine is ahead.
        let world = World::with(|emulator| emulator.clock_skew(-ahead));
        let report = report(&doctor(&world, &JSON));
        let told = report["clock"]["skew_seconds"].as_i64().unwrap();
        // A date in a header has no fraction of a second.
        assert!((ahead..=ahead + 2).contains(&told), "{ahead}: {told}");
        let advised =
            report["advice"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("clock"));
        assert_eq!(advised, ahead != 0, "{report}");
    }
}

#[test]
fn doc_10_without_a_proxy_it_is_null() {
    let world = World::new();
    let mut command = world.symbolon();
    // Loopback is reached without a proxy; the other token service is not there.
    command.env("AZURE_AUTHORITY_HOST", world.emulator.token_url()).env("HTTPS_PROXY", "http://127.0.0.1:9");
    let report = report(&Ran::of(command.args(JSON).output().unwrap()));
    assert_eq!(report["proxy"], Value::Null);
}

#[test]
fn doc_11_who_was_reached_and_who_was_not_is_told() {
    let world = World::new();
    let mut command = world.symbolon();
    command.env("AZURE_AUTHORITY_HOST", world.emulator.token_url()).env("HTTPS_PROXY", "http://127.0.0.1:9");
    let report = report(&Ran::of(command.args(JSON).output().unwrap()));
    let [metadata, tokens, lost] = &report["endpoints"].as_array().unwrap()[..] else { panic!("{report}") };
    for (endpoint, url) in [(metadata, world.emulator.imds_url()), (tokens, world.emulator.token_url())] {
        assert_eq!((&endpoint["url"], &endpoint["ok"]), (&url.into(), &true.into()));
        assert!(endpoint["ms"].is_u64() && !endpoint["reason"].as_str().unwrap().is_empty(), "{endpoint}");
    }
    assert_eq!(lost["url"], "https://mtlsauth.microsoft.com");
    assert_eq!((&lost["ok"], &lost["ms"]), (&false.into(), &Value::Null));
    assert_eq!(lost["reason"], "the server could not be reached");
}

#[test]
fn doc_12_advice_is_sentences() {
    for (report, told) in [
        (report(&doctor(&World::new(), &JSON)), "--pop"),
        (report(&doctor(&World::with(|emulator| emulator.v1_only()), &JSON)), "bearer"),
        (report(&Ran::of(nowhere().args(JSON).output().unwrap())), "symbolon emulate"),
    ] {
        let advice: Vec<&str> =
            report["advice"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        assert!(advice[0].contains(told), "{advice:?}");
        for sentence in advice {
            assert!(sentence.starts_with(char::is_uppercase) && sentence.ends_with('.'), "{sentence}");
        }
    }
}

#[test]
fn doc_14_a_machine_is_only_probed() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let run = |arguments: &[&str]| {
        let mut command = world.symbolon();
        command.env("HTTPS_PROXY", "http://127.0.0.1:9").env("SYMBOLON_STATE_DIR", &state);
        Ran::of(command.env("RUST_LOG", "debug").args(arguments).output().unwrap())
    };
    let made = "the key provider is asked for a key";
    let ran = run(&JSON);
    assert!(ran.code == 0 && ran.stderr.contains("probed the metadata service"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(made) && !state.exists(), "{}", ran.stderr);
    assert_eq!(world.emulator.journal().steps(), [Step::PlatformMetadata]);
    assert!(world.emulator.issued().is_empty());
    // It would have been seen.
    let ran =
        run(&["token", "--resource", "https://x.example", "--pop", "--persist-binding", "--key", "p-256"]);
    assert!(ran.stderr.contains(made) && state.exists(), "{}", ran.stderr);
}

#[test]
fn doc_13_the_members_are_those_of_the_contract() {
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let hosted = World::with(|emulator| emulator.source(Source::AppService));
    // Also where there is nothing to be told of them.
    for report in [
        report(&doctor(&World::new(), &JSON)),
        report(&doctor(&hosted, &JSON)),
        report(&Ran::of(nowhere().args(JSON).output().unwrap())),
    ] {
        assert_eq!(names(&report), ["advice", "binding", "clock", "endpoints", "imds", "proxy", "source"]);
        assert_eq!(names(&report["source"]), ["reason", "selected", "skipped"]);
        assert_eq!(names(&report["source"]["skipped"][0]), ["reason", "source"]);
        assert_eq!(names(&report["imds"]), ["base", "reasons", "version"]);
        assert_eq!(names(&report["binding"]), ["reason", "strength", "usable"]);
        assert_eq!(names(&report["clock"]), ["skew_seconds"]);
        for endpoint in report["endpoints"].as_array().unwrap() {
            assert_eq!(names(endpoint), ["ms", "ok", "reason", "url"]);
        }
    }
}

#[test]
fn doc_01_every_source_is_explained() {
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
fn doc_05_a_machine_with_version_1_only_is_told_that_nothing_can_be_bound() {
    let report = report(&doctor(&World::with(|emulator| emulator.v1_only()), &JSON));
    assert_eq!((&report["imds"]["version"], &report["binding"]["usable"]), (&1.into(), &false.into()));
    assert_eq!(report["binding"]["strength"], Value::Null);
    assert!(report["advice"][0].as_str().unwrap().contains("bearer"));
}

#[test]
fn doc_02_without_a_source_there_is_none_and_why() {
    let report = report(&Ran::of(nowhere().args(JSON).output().unwrap()));
    assert_eq!(report["source"]["selected"], Value::Null);
    assert!(
        report["source"]["reason"].as_str().unwrap().contains("there is no metadata service"),
        "{report}"
    );
}

#[test]
fn doc_06_without_a_metadata_service_it_has_no_version() {
    let nowhere = report(&Ran::of(nowhere().args(JSON).output().unwrap()));
    assert_eq!(
        (&nowhere["imds"]["version"], &nowhere["imds"]["base"]),
        (&Value::Null, &"http://127.0.0.1:9".into())
    );
    assert!(nowhere["imds"]["reasons"][0].as_str().unwrap().contains("could not be reached"), "{nowhere}");
}

#[test]
fn doc_09_where_nobody_told_the_time_there_is_no_skew() {
    let nowhere = report(&Ran::of(nowhere().args(JSON).output().unwrap()));
    let world = World::with(|emulator| emulator.source(Source::AppService));
    for report in [nowhere, report(&doctor(&world, &JSON))] {
        assert_eq!(report["clock"], serde_json::json!({ "skew_seconds": null }));
    }
}

#[test]
fn doc_15_a_machine_without_anything_is_told_what_to_do_and_the_report_is_no_failure() {
    let ran = Ran::of(nowhere().args(JSON).output().unwrap());
    let report = report(&ran);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(report["endpoints"].as_array().unwrap().iter().all(|endpoint| endpoint["ok"] == false));
    assert!(report["advice"][0].as_str().unwrap().contains("symbolon emulate"));
}

#[test]
fn doc_10_the_proxy_is_named_without_its_credentials() {
    let ran = Ran::of(nowhere().args(JSON).output().unwrap());
    assert_eq!(report(&ran)["proxy"], "127.0.0.1:9");
    let mut command = nowhere();
    let ran =
        command.env("HTTPS_PROXY", "http://user:pass-that-no-report-shows@127.0.0.1:9").args(["doctor"]);
    let ran = Ran::of(ran.output().unwrap());
    assert!(ran.stdout.contains("127.0.0.1:9") && !ran.stdout.contains("pass-that"), "{}", ran.stdout);
}

#[test]
fn doc_16_the_page_fits_on_a_terminal_and_has_no_colour_off_it() {
    for ran in [doctor(&World::new(), &["doctor"]), Ran::of(nowhere().arg("doctor").output().unwrap())] {
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
        assert!(!ran.stdout.contains('\u{1b}') && ran.stdout.contains("metadata service"), "{}", ran.stdout);
    }
}

#[test]
fn bad_16_a_setting_that_cannot_be_read_is_said_in_a_line() {
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

/// Root alone may write where clients look for the key files of the Azure Arc agent, so that this one is not asked.
#[test]
fn doc_17_identities_are_named_by_those_ids_that_the_source_takes() {
    for source in Source::ALL.into_iter().filter(|source| *source != Source::AzureArc) {
        let world = World::with(|emulator| emulator.source(source));
        let report = doctor(&world, &["doctor"]).stdout;
        let text = report.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, identities) = text.split_once(" identity ").unwrap();
        let (identities, _) = identities.split_once(" skipped ").unwrap();
        let other = world.emulator.user_assigned();
        for (kind, name, id) in [
            ("client-id", "client id", other.client_id()),
            ("object-id", "object id", other.object_id()),
            ("resource-id", "resource id", other.resource_id()),
        ] {
            let identity = format!("{kind}:{id}");
            let ran = world.run(&["token", "--resource", "https://x.example", "--identity", &identity]);
            let expected = if identities.contains(name) { 0 } else { 3 };
            assert_eq!(ran.code, expected, "{source} {kind}: {identities}\n{}", ran.stderr);
        }
    }
}
