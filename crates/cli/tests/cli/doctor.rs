//! `symbolon doctor`.

use serde_json::Value;
use symbolon_emulator::{Source, Step};

use crate::origin::Origin;
use crate::run::{RunResult, TestEnv, symbolon};

const JSON: [&str; 3] = ["doctor", "--output", "json"];

fn report(ran: &RunResult) -> Value {
    let [report] = &ran.json()[..] else { panic!("one line: {ran:?}") };
    report.clone()
}

/// Runs the command on the emulator, with all other endpoints unreachable.
fn doctor(env: &TestEnv, arguments: &[&str]) -> RunResult {
    let mut command = env.symbolon();
    RunResult::of(command.env("HTTPS_PROXY", "http://127.0.0.1:9").args(arguments).output().unwrap())
}

/// Returns the command on a machine where no endpoint responds.
fn nowhere() -> std::process::Command {
    let mut command = symbolon();
    let closed = "http://127.0.0.1:9";
    command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", closed).env("HTTPS_PROXY", closed);
    command
}

#[test]
fn doc_01_metadata_service_is_the_default() {
    let report = report(&doctor(&TestEnv::new(), &JSON));
    assert_eq!(report["source"]["selected"], "imds");
    assert_eq!(report["source"]["reason"], "nothing names another source");
}

#[test]
fn doc_03_to_04_skipped_sources_and_imds() {
    let env = TestEnv::new();
    let report = report(&doctor(&env, &JSON));
    let skipped = report["source"]["skipped"].as_array().unwrap();
    let names: Vec<_> = skipped.iter().map(|one| &one["source"]).collect();
    assert_eq!(names, ["service_fabric", "app_service", "machine_learning", "cloud_shell", "azure_arc"]);
    assert!(skipped.iter().all(|one| one["reason"].as_str().unwrap().contains("not set")), "{skipped:?}");
    assert_eq!(
        (&report["imds"]["version"], &report["imds"]["base"]),
        (&2.into(), &env.emulator.imds_url().into())
    );
    assert!(report["imds"]["reasons"][0].as_str().unwrap().starts_with("version 2: "), "{report}");
}

#[test]
fn doc_07_binding() {
    let names = |binding: &Value| binding.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for (env, usable, strength, reason) in [
        (
            TestEnv::new(),
            true,
            "software".into(),
            "the metadata service issues certificates to bind tokens to",
        ),
        (
            TestEnv::with(|emulator| emulator.v1_only()),
            false,
            Value::Null,
            "the metadata service has version 1 only",
        ),
    ] {
        let binding = report(&doctor(&env, &JSON))["binding"].clone();
        assert_eq!(names(&binding), ["reason", "strength", "usable"]);
        assert_eq!((&binding["usable"], &binding["strength"]), (&usable.into(), &strength), "{binding}");
        assert_eq!(binding["reason"], reason);
    }
}

#[test]
fn doc_08_clock_skew() {
    for ahead in [600, 0, -600] {
        // If this machine is ahead, the metadata service is behind.
        let env = TestEnv::with(|emulator| emulator.clock_skew(-ahead));
        let report = report(&doctor(&env, &JSON));
        let skew = report["clock"]["skew_seconds"].as_i64().unwrap();
        // HTTP dates have no fraction of a second.
        assert!((ahead..=ahead + 2).contains(&skew), "{ahead}: {skew}");
        let advised =
            report["advice"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("clock"));
        assert_eq!(advised, ahead != 0, "{report}");
    }
}

#[test]
fn doc_10_no_proxy_is_null() {
    let env = TestEnv::new();
    let mut command = env.symbolon();
    // Loopback addresses are reached without the proxy.
    command.env("AZURE_AUTHORITY_HOST", env.emulator.token_url()).env("HTTPS_PROXY", "http://127.0.0.1:9");
    let report = report(&RunResult::of(command.args(JSON).output().unwrap()));
    assert_eq!(report["proxy"], Value::Null);
}

#[test]
fn doc_11_endpoints() {
    let env = TestEnv::new();
    let mut command = env.symbolon();
    command.env("AZURE_AUTHORITY_HOST", env.emulator.token_url()).env("HTTPS_PROXY", "http://127.0.0.1:9");
    let shown = report(&RunResult::of(command.args(JSON).output().unwrap()));
    let [metadata, tokens] = &shown["endpoints"].as_array().unwrap()[..] else { panic!("{shown}") };
    for (endpoint, url) in [(metadata, env.emulator.imds_url()), (tokens, env.emulator.token_url())] {
        assert_eq!((&endpoint["url"], &endpoint["ok"]), (&url.into(), &true.into()));
        assert!(endpoint["ms"].is_u64() && !endpoint["reason"].as_str().unwrap().is_empty(), "{endpoint}");
    }
    // Any other host uses Azure's token services.
    let hosted = TestEnv::with(|emulator| emulator.source(Source::AppService));
    for report in
        [report(&doctor(&hosted, &JSON)), report(&RunResult::of(nowhere().args(JSON).output().unwrap()))]
    {
        let [_, tokens, mtls] = &report["endpoints"].as_array().unwrap()[..] else { panic!("{report}") };
        for (endpoint, url) in
            [(tokens, "https://login.microsoftonline.com"), (mtls, "https://mtlsauth.microsoft.com")]
        {
            assert_eq!(endpoint["url"], url);
            assert_eq!((&endpoint["ok"], &endpoint["ms"]), (&false.into(), &Value::Null));
            let reason = endpoint["reason"].as_str().unwrap();
            let host = url.trim_start_matches("https://");
            for part in [host, "could not be reached", "127.0.0.1:9 of HTTPS_PROXY", "Connection refused"] {
                assert!(reason.contains(part), "{part}: {reason}");
            }
        }
    }
}

#[test]
fn doc_11_azure_is_not_probed_beside_an_emulator() {
    let env = TestEnv::new();
    let report = report(&doctor(&env, &JSON));
    let [metadata] = &report["endpoints"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!((&metadata["url"], &metadata["ok"]), (&env.emulator.imds_url().into(), &true.into()));
    let advice = report["advice"].to_string();
    assert!(advice.contains("the metadata service is on loopback"), "{advice}");
    assert!(!advice.contains("Let this machine reach"), "{advice}");
    // A token service that the environment sets is probed, and belongs to the advice.
    let mut command = env.symbolon();
    command.env("AZURE_AUTHORITY_HOST", "https://127.0.0.1:9").args(["doctor"]);
    let shown = RunResult::of(command.output().unwrap()).stdout;
    assert!(shown.contains("Let this machine reach https://127.0.0.1:9"), "{shown}");
}

/// The report refuses the endpoints that a request for a token refuses.
#[test]
fn doc_22_endpoint_is_checked_as_for_a_token() {
    for (name, value, more, reason) in [
        ("IDENTITY_ENDPOINT", "foo:bar", &["IDENTITY_HEADER"][..], "is not an http or https URL"),
        ("IDENTITY_ENDPOINT", "127.0.0.1:9/msi/token", &["IDENTITY_HEADER"], "is not a URL"),
        ("IDENTITY_ENDPOINT", "\"http://127.0.0.1:9/\"", &["IDENTITY_HEADER"], "is in quotes"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:9/\n", &["IDENTITY_HEADER"], "ends with a line break"),
        ("IDENTITY_ENDPOINT", "http://203.0.113.7/", &["IDENTITY_HEADER"], "outside of this machine"),
        (
            "IDENTITY_ENDPOINT",
            "http://127.0.0.1:9/",
            &["IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"],
            "is not an https URL",
        ),
        ("MSI_ENDPOINT", "ftp://127.0.0.1:9/", &[], "is not an http or https URL"),
    ] {
        let run = |arguments: &[&str]| {
            let mut command = symbolon();
            command.env(name, value).envs(more.iter().map(|name| (*name, "x")));
            command.env("HTTPS_PROXY", "http://127.0.0.1:9").args(arguments);
            RunResult::of(command.output().unwrap())
        };
        let shown = report(&run(&JSON));
        let endpoint = &shown["endpoints"][0];
        assert_eq!((&endpoint["ok"], &endpoint["ms"]), (&false.into(), &Value::Null), "{endpoint}");
        assert!(endpoint["reason"].as_str().unwrap().contains(reason), "{endpoint}");
        assert!(shown["advice"].to_string().contains(reason), "{shown}");
        let ran = run(&["token", "--resource", "https://x.example", "--output", "json"]);
        assert_eq!(ran.error()["code"], "invalid_managed_identity_endpoint", "{}", ran.stderr);
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    }
}

#[test]
fn doc_12_advice_is_sentences() {
    for (report, expected) in [
        (report(&doctor(&TestEnv::new(), &JSON)), "--pop"),
        (report(&doctor(&TestEnv::with(|emulator| emulator.v1_only()), &JSON)), "bearer"),
        (report(&RunResult::of(nowhere().args(JSON).output().unwrap())), "symbolon emulate"),
    ] {
        let advice: Vec<&str> =
            report["advice"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        assert!(advice[0].contains(expected), "{advice:?}");
        for sentence in advice {
            assert!(sentence.starts_with(char::is_uppercase) && sentence.ends_with('.'), "{sentence}");
        }
    }
}

#[test]
fn doc_14_probes_only() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let run = |arguments: &[&str]| {
        let mut command = env.symbolon();
        command.env("HTTPS_PROXY", "http://127.0.0.1:9").env("SYMBOLON_STATE_DIR", &state);
        RunResult::of(command.env("RUST_LOG", "debug").args(arguments).output().unwrap())
    };
    let key_requested = "requesting a key from the key provider";
    let ran = run(&JSON);
    assert!(ran.code == 0 && ran.stderr.contains("probed the metadata service"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(key_requested) && !state.exists(), "{}", ran.stderr);
    assert_eq!(env.emulator.journal().steps(), [Step::PlatformMetadata]);
    assert!(env.emulator.issued().is_empty());
    // The same log line appears if a key is created.
    let ran =
        run(&["token", "--resource", "https://x.example", "--pop", "--persist-binding", "--key", "p-256"]);
    assert!(ran.stderr.contains(key_requested) && state.exists(), "{}", ran.stderr);
}

#[test]
fn doc_13_members() {
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let hosted = TestEnv::with(|emulator| emulator.source(Source::AppService));
    // All members are present even if they are null or empty.
    for report in [
        report(&doctor(&TestEnv::new(), &JSON)),
        report(&doctor(&hosted, &JSON)),
        report(&RunResult::of(nowhere().args(JSON).output().unwrap())),
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
fn doc_01_every_source_has_a_reason() {
    let env = TestEnv::new();
    for (source, name) in [
        (Source::AppService, "app_service"),
        (Source::ServiceFabric, "service_fabric"),
        (Source::MachineLearning, "machine_learning"),
        (Source::CloudShell, "cloud_shell"),
        (Source::AzureArc, "azure_arc"),
    ] {
        let mut command = symbolon();
        command.envs(env.emulator.environment_of(source)).env("HTTPS_PROXY", "http://127.0.0.1:9").args(JSON);
        let report = report(&RunResult::of(command.output().unwrap()));
        assert_eq!(report["source"]["selected"], name);
        assert_eq!((&report["imds"]["base"], &report["binding"]["usable"]), (&Value::Null, &false.into()));
        assert_eq!(report["endpoints"][0]["ok"], true, "{name}: {}", report["endpoints"]);
        assert!(report["advice"][0].as_str().unwrap().contains("bearer"), "{name}");
        // The report contains no secret of the host.
        for (variable, value) in env.emulator.environment_of(source) {
            if variable.ends_with("HEADER") || variable.ends_with("SECRET") {
                assert!(!report.to_string().contains(&value), "{name}: {variable}");
            }
        }
    }
    assert_eq!(env.emulator.journal().steps(), []);
}

#[test]
fn doc_05_metadata_service_version_1() {
    let report = report(&doctor(&TestEnv::with(|emulator| emulator.v1_only()), &JSON));
    assert_eq!((&report["imds"]["version"], &report["binding"]["usable"]), (&1.into(), &false.into()));
    assert_eq!(report["binding"]["strength"], Value::Null);
    assert!(report["advice"][0].as_str().unwrap().contains("bearer"));
}

#[test]
fn doc_02_no_source_has_a_reason() {
    let report = report(&RunResult::of(nowhere().args(JSON).output().unwrap()));
    assert_eq!(report["source"]["selected"], Value::Null);
    assert!(
        report["source"]["reason"].as_str().unwrap().contains("there is no metadata service"),
        "{report}"
    );
}

#[test]
fn doc_06_no_metadata_service_has_no_version() {
    let nowhere = report(&RunResult::of(nowhere().args(JSON).output().unwrap()));
    assert_eq!(
        (&nowhere["imds"]["version"], &nowhere["imds"]["base"]),
        (&Value::Null, &"http://127.0.0.1:9".into())
    );
    assert!(nowhere["imds"]["reasons"][0].as_str().unwrap().contains("could not be reached"), "{nowhere}");
}

#[test]
fn doc_09_no_time_source_has_no_skew() {
    let nowhere = report(&RunResult::of(nowhere().args(JSON).output().unwrap()));
    let env = TestEnv::with(|emulator| emulator.source(Source::AppService));
    for report in [nowhere, report(&doctor(&env, &JSON))] {
        assert_eq!(report["clock"], serde_json::json!({ "skew_seconds": null }));
    }
}

#[test]
fn doc_15_nothing_responds() {
    let ran = RunResult::of(nowhere().args(JSON).output().unwrap());
    let report = report(&ran);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(report["endpoints"].as_array().unwrap().iter().all(|endpoint| endpoint["ok"] == false));
    assert!(report["advice"][0].as_str().unwrap().contains("symbolon emulate"));
}

/// It also fails no request that would not use it.
#[test]
fn doc_10_unusable_proxy_is_advice() {
    let env = TestEnv::new();
    for (variable, url) in [("HTTPS_PROXY", "socks4://user:s3cr3t@proxy.example"), ("ALL_PROXY", "http://")] {
        let mut command = env.symbolon();
        command.env_remove("HTTPS_PROXY").env(variable, url).env("NO_PROXY", "10.*");
        let ran = RunResult::of(command.args(JSON).output().unwrap());
        let shown = report(&ran);
        assert_eq!((ran.code, &shown["proxy"]), (0, &Value::Null), "{shown}");
        let advice = shown["advice"].to_string();
        for part in [variable, "socks5h://", "NO_PROXY", "10.*"] {
            assert!(advice.contains(part), "{part}: {advice}");
        }
        assert!(!format!("{shown} {}", ran.stderr).contains("s3cr3t"));
        let mut command = env.symbolon();
        command.env_remove("HTTPS_PROXY").env(variable, url);
        let ran =
            RunResult::of(command.args(["token", "--resource", "https://vault.example"]).output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
}

#[test]
fn doc_10_proxy_without_credentials() {
    let ran = RunResult::of(nowhere().args(JSON).output().unwrap());
    assert_eq!(report(&ran)["proxy"], "127.0.0.1:9");
    let mut command = nowhere();
    let ran =
        command.env("HTTPS_PROXY", "http://user:pass-that-no-report-shows@127.0.0.1:9").args(["doctor"]);
    let ran = RunResult::of(ran.output().unwrap());
    assert!(ran.stdout.contains("127.0.0.1:9") && !ran.stdout.contains("pass-that"), "{}", ran.stdout);
}

#[test]
fn doc_16_text_fits_a_terminal() {
    for ran in
        [doctor(&TestEnv::new(), &["doctor"]), RunResult::of(nowhere().arg("doctor").output().unwrap())]
    {
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
        assert!(!ran.stdout.contains('\u{1b}') && ran.stdout.contains("metadata service"), "{}", ran.stdout);
    }
}

#[test]
fn bad_16_invalid_variable_is_named() {
    for (name, value) in [
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "not a url"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9\n"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "\"http://127.0.0.1:9\""),
        ("AZURE_AUTHORITY_HOST", "not a url"),
    ] {
        let ran = RunResult::of(symbolon().env(name, value).args(JSON).output().unwrap());
        assert_eq!(ran.code, 2, "{name}: {ran:?}");
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
}

/// Omits Azure Arc, whose key files only root can write.
#[test]
fn doc_17_kinds_of_identity() {
    for source in Source::ALL.into_iter().filter(|source| *source != Source::AzureArc) {
        let env = TestEnv::with(|emulator| emulator.source(source));
        let report = doctor(&env, &["doctor"]).stdout;
        let text = report.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, identities) = text.split_once(" identity ").unwrap();
        let (identities, _) = identities.split_once(" skipped ").unwrap();
        let other = env.emulator.user_assigned();
        for (kind, name, id) in [
            ("client-id", "client id", &other.client_id),
            ("object-id", "object id", &other.object_id),
            ("resource-id", "resource id", &other.resource_id),
        ] {
            let identity = format!("{kind}:{id}");
            let ran = env.run(&["token", "--resource", "https://x.example", "--identity", &identity]);
            let expected = if identities.contains(name) { 0 } else { 3 };
            assert_eq!(ran.code, expected, "{source} {kind}: {identities}\n{}", ran.stderr);
        }
    }
}

#[test]
fn doc_18_to_19_check() {
    let no_v2 = TestEnv::with(|emulator| emulator.v1_only());
    let check = ["doctor", "--check", "--output", "json"];
    for (ran, code) in [
        (doctor(&TestEnv::new(), &check), 0),
        (doctor(&TestEnv::new(), &[&check[..], &["--pop"]].concat()), 0),
        (doctor(&no_v2, &check), 0),
        (doctor(&no_v2, &[&check[..], &["--pop"]].concat()), 3),
        (doctor(&no_v2, &JSON), 0),
        (RunResult::of(nowhere().args(check).output().unwrap()), 3),
        (RunResult::of(nowhere().args(JSON).output().unwrap()), 0),
    ] {
        assert_eq!((ran.code, ran.stderr.as_str()), (code, ""), "{}", ran.stdout);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(report["source"].is_object(), "{report}");
    }
    assert_eq!(RunResult::of(nowhere().args(["doctor", "--pop"]).output().unwrap()).code, 2);
}

#[test]
fn doc_20_certificate_of_a_resource() {
    let env = TestEnv::new();
    let origin = Origin::start();
    let with_ca = |ca_file: &str, url: &str, more: &[&str]| {
        let mut command = symbolon();
        command.envs(env.emulator.environment()).env_remove("SSL_CERT_FILE");
        command.args(["doctor", "--ca-file", ca_file, "--resource", url]);
        RunResult::of(command.args(more).output().unwrap())
    };
    let emulator_ca = env.emulator.ca_file().to_str().unwrap();
    let mut cases = vec![
        (emulator_ca, env.emulator.resource_url().to_owned(), "handshake", "in the handshake"),
        (emulator_ca, "https://127.0.0.1:9/".to_owned(), "unknown", "refused"),
    ];
    if let Some(origin) = &origin {
        cases.push((&origin.ca_file, origin.url.clone(), "never", "no certificate"));
        cases.push((emulator_ca, origin.url.clone(), "unknown", "UnknownIssuer"));
    }
    for (ca_file, url, certificate, reason) in cases {
        let ran = with_ca(ca_file, &url, &["--output", "json"]);
        let report = report(&ran);
        let resource = &report["resource"];
        assert_eq!((ran.code, &resource["certificate"]), (0, &certificate.into()), "{resource}");
        assert!(resource["reason"].as_str().unwrap().contains(reason), "{resource}");
        assert_eq!(
            resource.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["certificate", "reason", "url"]
        );
        let text = with_ca(ca_file, &url, &[]).stdout;
        assert!(text.contains("resource          https://"), "{text}");
    }
    if let Some(origin) = &origin {
        let request = origin.request();
        assert_eq!((&request["method"], &request["headers"]["authorization"]), (&"GET".into(), &Value::Null));
    }
    // The server saw a handshake, and neither a request nor a usable certificate.
    assert_eq!(env.emulator.journal().count(Step::Resource), 0);
    let ran = RunResult::of(nowhere().args(["doctor", "--resource", "http://x"]).output().unwrap());
    assert!(ran.code == 2 && ran.stderr.contains("https"), "{}", ran.stderr);
}

/// Over TLS 1.2 by renegotiation, over TLS 1.3 by authentication after the handshake.
#[cfg(unix)]
#[test]
fn doc_20_location_requests_it_late() {
    let Some(apache) = crate::apache::Apache::start() else { return };
    for url in &apache.urls {
        for (path, certificate) in [("/", "never"), ("/private/", "late"), ("/vault/", "late")] {
            let mut command = nowhere();
            command.args(JSON).args(["--ca-file", &apache.ca_file, "--resource", &format!("{url}{path}")]);
            let report = report(&RunResult::of(command.output().unwrap()));
            assert_eq!(report["resource"]["certificate"], certificate, "{}", report["resource"]);
            let advice = report["advice"].to_string();
            assert_eq!(advice.contains("it requests the certificate after the handshake"), path != "/");
        }
    }
}

#[test]
fn doc_21_unused_variables() {
    let env = TestEnv::with(|emulator| emulator.source(Source::AppService));
    let mut command = env.symbolon();
    command
        .env("AZURE_CLIENT_ID", "x")
        .env("IMDS_ENDPOINT", "http://127.0.0.1:9")
        .env("HTTPS_PROXY", "http://127.0.0.1:9");
    let advice = report(&RunResult::of(command.args(JSON).output().unwrap()))["advice"].to_string();
    assert!(advice.contains("AZURE_CLIENT_ID is set, but a managed identity does not use it"), "{advice}");
    assert!(advice.contains("IMDS_ENDPOINT is set, but not used: App Service is the source"), "{advice}");
    assert!(!advice.contains("IDENTITY_HEADER is set"), "{advice}");
    let none = report(&doctor(&TestEnv::new(), &JSON))["advice"].to_string();
    assert!(!none.contains("is set, but"), "{none}");
}

#[test]
fn doc_22_endpoint_with_causes() {
    let report = report(&RunResult::of(nowhere().args(JSON).output().unwrap()));
    let endpoint = &report["endpoints"][1];
    assert!(endpoint["reason"].as_str().unwrap().contains("refused"), "{endpoint}");
    // A certificate that is not trusted is named.
    let env = TestEnv::new();
    let mut command = symbolon();
    command.envs(env.emulator.environment()).env_remove("SSL_CERT_FILE");
    command.env("AZURE_AUTHORITY_HOST", env.emulator.token_url());
    let ran = RunResult::of(command.args(JSON).output().unwrap());
    assert!(ran.stdout.contains("UnknownIssuer"), "{}", ran.stdout);
}
