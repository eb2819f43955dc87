//! `symbolon token`.

use symbolon_emulator::{Fault, Step};

use crate::run::{Ran, World};

const ASK: &[&str] =
    &["token", "--resource", "https://vault.azure.net", "--key", "p-256", "--output", "json"];

fn ask(world: &World, more: &[&str]) -> Ran {
    world.run(&[ASK, more].concat())
}

#[test]
fn tok_01_a_resource_alone_gets_a_bearer_token_for_it() {
    let world = World::new();
    let token = &ask(&world, &[]).json()[0];
    assert_eq!(
        (&token["token_type"], &token["resource"]),
        (&"Bearer".into(), &"https://vault.azure.net".into())
    );
    let journal = world.emulator.journal();
    assert_eq!(journal.steps(), [Step::ImdsToken]);
    assert_eq!(journal.last(Step::ImdsToken).unwrap().query("resource"), Some("https://vault.azure.net"));
}

#[test]
fn tok_02_a_bound_token_is_bound_to_a_certificate_made_for_it() {
    let world = World::new();
    let token = &ask(&world, &["--pop"]).json()[0];
    let issued = world.emulator.issued();
    assert_eq!((&token["token_type"], issued.len()), (&"mtls_pop".into(), 1));
    assert_eq!(token["binding"]["x5t#S256"], issued[0].thumbprint().to_string());
    let journal = world.emulator.journal();
    assert_eq!(journal.steps(), [Step::PlatformMetadata, Step::IssueCredential, Step::Token]);
    assert_eq!(journal.last(Step::Token).unwrap().form("token_type"), Some("mtls_pop"));
}

#[test]
fn tok_05_the_identity_of_the_machine_is_the_default_and_is_not_named() {
    let world = World::new();
    for more in [&[][..], &["--identity", "system"]] {
        for (kind, step) in [(&[][..], Step::ImdsToken), (&["--pop"], Step::IssueCredential)] {
            let token = &ask(&world, &[more, kind].concat()).json()[0];
            assert_eq!(token["client_id"], world.emulator.client_id(), "{more:?} {kind:?}");
            let journal = world.emulator.journal();
            let request = journal.last(step).unwrap();
            for parameter in ["client_id", "object_id", "principal_id", "mi_res_id", "msi_res_id"] {
                assert_eq!(request.query(parameter), None, "{more:?} {kind:?}");
            }
        }
    }
}

#[test]
fn tok_13_to_16_a_key_is_used_if_it_is_kept_as_well_as_asked() {
    for (floor, is_met) in [("none", true), ("software", true), ("hardware", false), ("keyguard", false)] {
        let world = World::new();
        let ran = ask(&world, &["--pop", "--min-strength", floor]);
        assert_eq!(world.emulator.journal().count(Step::IssueCredential), usize::from(is_met), "{floor}");
        if is_met {
            assert_eq!(ran.json()[0]["binding"]["strength"], "software", "{floor}");
        } else {
            let code = ran.error()["code"].clone();
            assert_eq!((code, ran.code), ("min_strength_not_met".into(), 3), "{floor}");
        }
    }
}

#[test]
fn tok_17_to_18_the_certificate_is_for_the_kind_of_key_that_was_asked_for() {
    // RFC 8017 appendix A.1 and RFC 5480 section 2.1.1: the OIDs of an RSA key and of the curve P-256; and how the
    // modulus of an RSA key begins that has 2048 bits.
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const MODULUS: &[u8] = &[0x02, 0x82, 0x01, 0x01, 0x00];
    for (more, is_rsa) in [(&[][..], true), (&["--key", "rsa-2048"], true), (&["--key", "p-256"], false)] {
        let world = World::new();
        let ran = world.run(&[&["token", "--resource", "https://x.example", "--pop"][..], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let journal = world.emulator.journal();
        let request = journal.last(Step::IssueCredential).unwrap().csr().unwrap();
        let has = |part: &[u8]| request.windows(part.len()).any(|window| window == part);
        assert_eq!((has(RSA), has(MODULUS), has(P256)), (is_rsa, is_rsa, !is_rsa), "{more:?}");
    }
}

#[test]
fn tok_23_for_programs_a_token_is_one_line() {
    let world = World::new();
    for more in [&[][..], &["--pop"]] {
        let ran = ask(&world, more);
        assert!(ran.stdout.ends_with("}\n") && ran.stdout.lines().count() == 1, "{}", ran.stdout);
    }
}

#[test]
fn tok_26_a_token_endpoint_on_loopback_needs_no_option() {
    let world = World::new();
    assert!(world.emulator.token_url().starts_with("https://127.0.0.1:"));
    let token = &ask(&world, &["--pop"]).json()[0];
    let journal = world.emulator.journal();
    let request = journal.last(Step::Token).unwrap();
    assert_eq!(request.certificate().unwrap().to_string(), token["binding"]["x5t#S256"].as_str().unwrap());
    assert_eq!(Some(request.header("host").unwrap()), world.emulator.token_url().strip_prefix("https://"));
}

#[test]
fn tok_24_the_default_output_is_for_people_and_does_not_show_the_token() {
    let world = World::new();
    let ran = world.run(&["token", "--resource", "https://vault.azure.net", "--key", "p-256", "--pop"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("token type") && ran.stdout.contains("mtls_pop"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("eyJ") && !ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.len() <= 80), "{}", ran.stdout);
}

#[test]
fn tok_25_the_header_is_ready_to_be_sent() {
    let world = World::new();
    let arguments =
        ["token", "--resource", "https://x.example", "--key", "p-256", "--pop", "--output", "header"];
    let ran = world.run(&arguments);
    assert!(
        ran.stdout.starts_with("Authorization: mtls_pop eyJ") && ran.stdout.lines().count() == 1,
        "{ran:?}"
    );
}

#[test]
fn tok_06_to_08_every_kind_of_identity_is_asked_for_in_its_own_spelling() {
    let world = World::new();
    let ids = world.emulator.user_assigned();
    for (identity, parameter, value) in [
        (format!("client-id:{}", ids.client_id()), "client_id", ids.client_id()),
        (format!("object-id:{}", ids.object_id()), "object_id", ids.object_id()),
        (format!("resource-id:{}", ids.resource_id()), "mi_res_id", ids.resource_id()),
    ] {
        let ran = ask(&world, &["--pop", "--identity", &identity]);
        assert_eq!(ran.json()[0]["client_id"], ids.client_id(), "{identity}");
        let journal = world.emulator.journal();
        let request = journal.last(Step::IssueCredential).unwrap();
        assert_eq!(request.query(parameter), Some(value), "{identity}");
    }
}

#[test]
fn tok_21_counted_tokens_come_one_a_line_and_from_one_mint() {
    let world = World::new();
    let ran = ask(&world, &["--pop", "--count", "20", "--concurrency", "5"]);
    assert_eq!(ran.json().len(), 20);
    assert_eq!((world.emulator.journal().count(Step::Token), world.emulator.issued().len()), (1, 1));
    let tokens = ask(&world, &["--pop", "--count", "3"]).json();
    let sources: Vec<_> = tokens.iter().map(|token| token["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["network", "cache", "cache"]);
    assert!(tokens.iter().all(|token| token["access_token"] == tokens[0]["access_token"]));
}

#[test]
fn tok_12_a_forced_refresh_does_not_read_the_cache() {
    let world = World::new();
    for more in [&["--pop"][..], &["--over-mtls"], &[]] {
        let ran = ask(&world, &[more, &["--count", "3", "--force-refresh"]].concat());
        let tokens = ran.json();
        assert!(tokens.iter().all(|token| token["source"] == "network"), "{more:?}");
        let different: std::collections::HashSet<_> =
            tokens.iter().map(|t| t["access_token"].to_string()).collect();
        assert_eq!(different.len(), 3, "{more:?}");
    }
    let journal = world.emulator.journal();
    assert_eq!((journal.count(Step::Token), journal.count(Step::ImdsToken)), (6, 3));
}

#[test]
fn tok_22_so_many_are_asked_for_at_the_same_time() {
    let slow = Fault::delay(Step::ImdsToken, std::time::Duration::from_millis(300)).always();
    let world = World::with(|emulator| emulator.fault(slow));
    for (concurrency, expected) in [
        ("1", ["network", "cache", "cache"]),
        ("2", ["network", "network", "cache"]),
        ("3", ["network", "network", "network"]),
    ] {
        let tokens = ask(&world, &["--count", "3", "--concurrency", concurrency]).json();
        // Whoever asks while the answer is on its way waits for that answer, and does not find it in the cache.
        let sources: Vec<_> = tokens.iter().map(|token| token["source"].as_str().unwrap()).collect();
        assert_eq!(sources, expected, "{concurrency}");
    }
}

#[test]
fn tok_09_to_11_claims_and_capabilities_reach_the_token_service() {
    let world = World::new();
    let claims = r#"{"access_token":{"nbf":{"value":"1"}}}"#;
    let client_claims = r#"{"access_token":{"xms_az_nwperimid":{"values":["p"]}}}"#;
    let more = [
        "--pop",
        "--claims",
        claims,
        "--client-claims",
        client_claims,
        "--capability",
        "cp1",
        "--capability",
        "cp2",
    ];
    assert_eq!(ask(&world, &more).code, 0);
    let journal = world.emulator.journal();
    let sent: serde_json::Value =
        serde_json::from_str(journal.last(Step::Token).unwrap().form("claims").unwrap()).unwrap();
    let sent = &sent["access_token"];
    assert_eq!(sent["nbf"]["value"], "1");
    assert_eq!(sent["xms_cc"]["values"], serde_json::json!(["cp1", "cp2"]));
    assert_eq!(sent["xms_az_nwperimid"]["values"][0], "p");
}

#[test]
fn tok_03_to_04_a_bearer_token_over_mtls_is_got_with_a_certificate_and_bound_to_none() {
    let world = World::new();
    let token = &ask(&world, &["--over-mtls"]).json()[0];
    assert_eq!((&token["token_type"], &token["binding"]), (&"Bearer".into(), &serde_json::Value::Null));
    let journal = world.emulator.journal();
    assert_eq!(
        journal.last(Step::Token).unwrap().certificate(),
        Some(world.emulator.issued()[0].thumbprint())
    );
    let both = ask(&world, &["--over-mtls", "--pop"]);
    assert_eq!(both.code, 2);
}

#[cfg(unix)]
#[test]
fn tok_19_to_20_a_persisted_binding_is_there_for_the_next_run() {
    let world = World::new();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    for key in ["p-256", "rsa-2048"] {
        let ask = || {
            let arguments = ["token", "--resource", "https://x.example", "--pop", "--persist-binding"];
            let more = ["--key", key, "--output", "json"];
            let mut command = world.symbolon();
            command.env("SYMBOLON_STATE_DIR", &folder).args(arguments).args(more);
            Ran::of(command.output().unwrap()).json()[0]["binding"]["x5t#S256"].clone()
        };
        assert_eq!(ask(), ask(), "{key}");
    }
    assert_eq!(world.emulator.issued().len(), 2);
    let ask = || ask(&world, &["--pop"]).json()[0]["binding"]["x5t#S256"].clone();
    assert_ne!(ask(), ask(), "without the option");
}

#[cfg(unix)]
#[test]
fn tok_19_twenty_cold_runs_on_one_state_folder_have_one_certificate_issued() {
    let world = World::new();
    let parent = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = world.symbolon();
        command.env("XDG_STATE_HOME", parent.path()).args(ASK).args(["--pop", "--persist-binding"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let runs: Vec<_> = (0..20).map(|_| run()).collect();
    let bindings: std::collections::HashSet<String> = runs
        .into_iter()
        .map(|run| Ran::of(run.wait_with_output().unwrap()).json()[0]["binding"]["x5t#S256"].to_string())
        .collect();
    assert_eq!((bindings.len(), world.emulator.issued().len()), (1, 1));
    assert!(parent.path().join("symbolon").is_dir());
}
