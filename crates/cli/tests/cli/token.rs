//! `symbolon token`.

use serde_json::json;
use symbolon_emulator::{Fault, Step};

use crate::run::{RunResult, TestEnv};

const RESOURCE: &str = "https://vault.azure.net";

const REQUEST: &[&str] =
    &["token", "--resource", "https://vault.azure.net", "--key", "p-256", "--output", "json"];

fn request_token(env: &TestEnv, more: &[&str]) -> RunResult {
    env.run(&[REQUEST, more].concat())
}

#[test]
fn tok_01_bearer_token() {
    let env = TestEnv::new();
    let token = &request_token(&env, &[]).json()[0];
    assert_eq!(
        (&token["token_type"], &token["resource"]),
        (&"Bearer".into(), &"https://vault.azure.net".into())
    );
    let journal = env.emulator.journal();
    assert_eq!(journal.steps(), [Step::ImdsToken]);
    assert_eq!(journal.last(Step::ImdsToken).unwrap().query("resource"), Some("https://vault.azure.net"));
}

#[test]
fn tok_02_bound_token() {
    let env = TestEnv::new();
    let token = &request_token(&env, &["--pop"]).json()[0];
    let issued = env.emulator.issued();
    assert_eq!((&token["token_type"], issued.len()), (&"mtls_pop".into(), 1));
    assert_eq!(token["binding"]["x5t#S256"], issued[0].thumbprint.to_string());
    let journal = env.emulator.journal();
    assert_eq!(journal.steps(), [Step::PlatformMetadata, Step::IssueCredential, Step::Token]);
    assert_eq!(journal.last(Step::Token).unwrap().form("token_type"), Some("mtls_pop"));
}

#[test]
fn tok_05_system_assigned_identity_by_default() {
    let env = TestEnv::new();
    for more in [&[][..], &["--identity", "system"]] {
        for (kind, step) in [(&[][..], Step::ImdsToken), (&["--pop"], Step::IssueCredential)] {
            let token = &request_token(&env, &[more, kind].concat()).json()[0];
            assert_eq!(token["client_id"], env.emulator.client_id(), "{more:?} {kind:?}");
            let journal = env.emulator.journal();
            let request = journal.last(step).unwrap();
            for parameter in ["client_id", "object_id", "principal_id", "mi_res_id", "msi_res_id"] {
                assert_eq!(request.query(parameter), None, "{more:?} {kind:?}");
            }
        }
    }
}

#[test]
fn tok_13_to_16_minimum_strength() {
    for (floor, is_met) in [("none", true), ("software", true), ("hardware", false), ("keyguard", false)] {
        let env = TestEnv::new();
        let ran = request_token(&env, &["--pop", "--min-strength", floor]);
        assert_eq!(env.emulator.journal().count(Step::IssueCredential), usize::from(is_met), "{floor}");
        if is_met {
            assert_eq!(ran.json()[0]["binding"]["strength"], "software", "{floor}");
        } else {
            let code = ran.error()["code"].clone();
            assert_eq!((code, ran.code), ("min_strength_not_met".into(), 3), "{floor}");
        }
    }
}

#[test]
fn tok_17_to_18_key_type() {
    // The OIDs of an RSA key (RFC 8017 appendix A.1) with the start of a 2048-bit modulus, and of
    // the curve P-256 (RFC 5480 §2.1.1.1).
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const MODULUS: &[u8] = &[0x02, 0x82, 0x01, 0x01, 0x00];
    for (more, is_rsa) in [(&[][..], true), (&["--key", "rsa-2048"], true), (&["--key", "p-256"], false)] {
        let env = TestEnv::new();
        let ran = env.run(&[&["token", "--resource", "https://x.example", "--pop"][..], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let journal = env.emulator.journal();
        let request = journal.last(Step::IssueCredential).unwrap().csr.as_deref().unwrap();
        let has = |part: &[u8]| request.windows(part.len()).any(|window| window == part);
        assert_eq!((has(RSA), has(MODULUS), has(P256)), (is_rsa, is_rsa, !is_rsa), "{more:?}");
    }
}

#[test]
fn tok_23_json_is_one_line() {
    let env = TestEnv::new();
    for more in [&[][..], &["--pop"]] {
        let ran = request_token(&env, more);
        assert!(ran.stdout.ends_with("}\n") && ran.stdout.lines().count() == 1, "{}", ran.stdout);
    }
}

#[test]
fn tok_26_loopback_token_endpoint() {
    let env = TestEnv::new();
    assert!(env.emulator.token_url().starts_with("https://127.0.0.1:"));
    let token = &request_token(&env, &["--pop"]).json()[0];
    let journal = env.emulator.journal();
    let request = journal.last(Step::Token).unwrap();
    assert_eq!(request.certificate().unwrap().to_string(), token["binding"]["x5t#S256"].as_str().unwrap());
    assert_eq!(Some(request.header("host").unwrap()), env.emulator.token_url().strip_prefix("https://"));
}

#[test]
fn tok_24_text_omits_the_token() {
    let env = TestEnv::new();
    let ran = env.run(&["token", "--resource", "https://vault.azure.net", "--key", "p-256", "--pop"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("token type") && ran.stdout.contains("mtls_pop"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("eyJ") && !ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.len() <= 80), "{}", ran.stdout);
}

#[test]
fn tok_25_header() {
    let env = TestEnv::new();
    let arguments =
        ["token", "--resource", "https://x.example", "--key", "p-256", "--pop", "--output", "header"];
    let ran = env.run(&arguments);
    assert!(
        ran.stdout.starts_with("Authorization: mtls_pop eyJ") && ran.stdout.lines().count() == 1,
        "{ran:?}"
    );
}

#[test]
fn tok_27_token_fits_into_a_header() {
    for token in ["s3cr3t\r\nX: y", "s3cr3t two", "s3cr3t\u{1b}[2J", "s3cr3t=x"] {
        let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3599 }).to_string();
        let fault = |step| Fault::status(step, 200).body(body.clone()).always();
        let env = TestEnv::with(|emulator| emulator.fault(fault(Step::ImdsToken)).fault(fault(Step::Token)));
        let authority = format!("{}/contoso.example", env.emulator.token_url());
        let application = ["app-token", "--authority", &authority, "--client-id", "x", "--scope", "s"];
        for arguments in [
            &["token", "--resource", "https://x.example"][..],
            &[&application[..], &["--client-secret-env", "SECRET"]].concat(),
        ] {
            for format in ["header", "json", "text"] {
                let mut command = env.symbolon();
                command
                    .env("SECRET", "s")
                    .env("RUST_LOG", "trace")
                    .args(arguments)
                    .args(["--output", format]);
                let ran = RunResult::of(command.output().unwrap());
                assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{token:?} {format}");
                assert!(ran.stderr.contains("not allowed in an Authorization header"), "{}", ran.stderr);
                assert!(!ran.stderr.contains("s3cr3t"), "{}", ran.stderr);
            }
        }
    }
}

#[test]
fn tok_06_to_08_user_assigned_identities() {
    let env = TestEnv::new();
    let ids = env.emulator.user_assigned();
    for (identity, parameter, value) in [
        (format!("client-id:{}", &ids.client_id), "client_id", &ids.client_id),
        (format!("object-id:{}", &ids.object_id), "object_id", &ids.object_id),
        (format!("resource-id:{}", &ids.resource_id), "mi_res_id", &ids.resource_id),
    ] {
        let ran = request_token(&env, &["--pop", "--identity", &identity]);
        assert_eq!(ran.json()[0]["client_id"], ids.client_id.as_str(), "{identity}");
        let journal = env.emulator.journal();
        let request = journal.last(Step::IssueCredential).unwrap();
        assert_eq!(request.query(parameter), Some(value.as_str()), "{identity}");
    }
}

#[test]
fn tok_21_count_prints_one_token_per_line() {
    let env = TestEnv::new();
    let ran = request_token(&env, &["--pop", "--count", "20", "--concurrency", "5"]);
    assert_eq!(ran.json().len(), 20);
    assert_eq!((env.emulator.journal().count(Step::Token), env.emulator.issued().len()), (1, 1));
    let tokens = request_token(&env, &["--pop", "--count", "3"]).json();
    let sources: Vec<_> = tokens.iter().map(|token| token["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["network", "cache", "cache"]);
    assert!(tokens.iter().all(|token| token["access_token"] == tokens[0]["access_token"]));
}

#[test]
fn tok_12_force_refresh_skips_the_cache() {
    let env = TestEnv::new();
    for more in [&["--pop"][..], &["--over-mtls"], &[]] {
        let ran = request_token(&env, &[more, &["--count", "3", "--force-refresh"]].concat());
        let tokens = ran.json();
        assert!(tokens.iter().all(|token| token["source"] == "network"), "{more:?}");
        let different: std::collections::HashSet<_> =
            tokens.iter().map(|t| t["access_token"].to_string()).collect();
        assert_eq!(different.len(), 3, "{more:?}");
    }
    let journal = env.emulator.journal();
    assert_eq!((journal.count(Step::Token), journal.count(Step::ImdsToken)), (6, 3));
}

#[test]
fn tok_22_concurrent_requests() {
    let slow = Fault::delay(Step::ImdsToken, std::time::Duration::from_millis(300)).always();
    let env = TestEnv::with(|emulator| emulator.fault(slow));
    for (concurrency, expected) in [
        ("1", ["network", "cache", "cache"]),
        ("2", ["network", "network", "cache"]),
        ("3", ["network", "network", "network"]),
    ] {
        let tokens = request_token(&env, &["--count", "3", "--concurrency", concurrency]).json();
        // Concurrent requests share one exchange and do not read the cache.
        let sources: Vec<_> = tokens.iter().map(|token| token["source"].as_str().unwrap()).collect();
        assert_eq!(sources, expected, "{concurrency}");
    }
}

#[test]
fn tok_09_to_11_claims_and_capabilities() {
    let env = TestEnv::new();
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
    assert_eq!(request_token(&env, &more).code, 0);
    let journal = env.emulator.journal();
    let sent: serde_json::Value =
        serde_json::from_str(journal.last(Step::Token).unwrap().form("claims").unwrap()).unwrap();
    let sent = &sent["access_token"];
    assert_eq!(sent["nbf"]["value"], "1");
    assert_eq!(sent["xms_cc"]["values"], serde_json::json!(["cp1", "cp2"]));
    assert_eq!(sent["xms_az_nwperimid"]["values"][0], "p");
}

#[test]
fn tok_03_to_04_bearer_token_over_mtls() {
    let env = TestEnv::new();
    let token = &request_token(&env, &["--over-mtls"]).json()[0];
    assert_eq!((&token["token_type"], &token["binding"]), (&"Bearer".into(), &serde_json::Value::Null));
    let journal = env.emulator.journal();
    assert_eq!(journal.last(Step::Token).unwrap().certificate(), Some(env.emulator.issued()[0].thumbprint));
    let both = request_token(&env, &["--over-mtls", "--pop"]);
    assert_eq!(both.code, 2);
}

#[cfg(unix)]
#[test]
fn tok_19_to_20_persisted_binding() {
    let env = TestEnv::new();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    for key in ["p-256", "rsa-2048"] {
        let request_token = || {
            let arguments = ["token", "--resource", "https://x.example", "--pop", "--persist-binding"];
            let more = ["--key", key, "--output", "json"];
            let mut command = env.symbolon();
            command.env("SYMBOLON_STATE_DIR", &folder).args(arguments).args(more);
            RunResult::of(command.output().unwrap()).json()[0]["binding"]["x5t#S256"].clone()
        };
        assert_eq!(request_token(), request_token(), "{key}");
    }
    assert_eq!(env.emulator.issued().len(), 2);
    let request_token = || request_token(&env, &["--pop"]).json()[0]["binding"]["x5t#S256"].clone();
    assert_ne!(request_token(), request_token(), "without the option");
}

#[cfg(unix)]
#[test]
fn tok_19_parallel_runs_share_one_certificate() {
    let env = TestEnv::new();
    let parent = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = env.symbolon();
        command.env("XDG_STATE_HOME", parent.path()).args(REQUEST).args(["--pop", "--persist-binding"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let runs: Vec<_> = (0..20).map(|_| run()).collect();
    let bindings: std::collections::HashSet<String> = runs
        .into_iter()
        .map(|run| {
            RunResult::of(run.wait_with_output().unwrap()).json()[0]["binding"]["x5t#S256"].to_string()
        })
        .collect();
    assert_eq!((bindings.len(), env.emulator.issued().len()), (1, 1));
    assert!(parent.path().join("symbolon").is_dir());
}

/// The folder cannot be created in a file system without a free inode, nor in a read-only one.
#[cfg(target_os = "linux")]
#[test]
fn tok_31_no_room_for_the_binding() {
    use std::process::Command;

    const MOUNT: &str = r#"mount -t tmpfs -o "$OPTIONS" none "$PARENT" && exec "$@""#;
    let parent = tempfile::tempdir().unwrap();
    let isolated = |mount_options: &str, program: &Command| {
        let command = |options: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(options).args(["sh", "-c", MOUNT, "sh"]);
            command.env("OPTIONS", mount_options).env("PARENT", parent.path());
            command
        };
        let found = [&["--mount"][..], &["--mount", "--map-root-user"]].into_iter().find(|options| {
            command(options).arg("true").output().is_ok_and(|output| output.status.success())
        })?;
        let mut command = command(found);
        command.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        Some(command)
    };
    let env = TestEnv::new();
    for mount_options in ["nr_inodes=1", "ro"] {
        let mut symbolon = env.symbolon();
        symbolon.env("SYMBOLON_STATE_DIR", parent.path().join("above/state"));
        symbolon.env("RUST_LOG", "symbolon=warn").args(REQUEST).args(["--pop", "--persist-binding"]);
        let Some(mut command) = isolated(mount_options, &symbolon) else {
            return crate::run::skip_without("a mount namespace");
        };
        let ran = RunResult::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{mount_options} {ran:?}");
        assert!(ran.stderr.contains("kept in memory"), "{}", ran.stderr);
    }
    assert_eq!(env.emulator.issued().len(), 2);
}

#[test]
fn tok_28_raw_output_is_the_token() {
    let env = TestEnv::new();
    for more in [&[][..], &["--pop"]] {
        let ran = env
            .run(&[&["token", "--resource", RESOURCE, "--key", "p-256", "--output", "raw"], more].concat());
        let parts: Vec<_> = ran.stdout.trim_end().split('.').collect();
        assert!(ran.code == 0 && parts.len() == 3 && parts[0].starts_with("eyJ"), "{ran:?}");
        assert_eq!(ran.stdout.matches(char::is_whitespace).collect::<Vec<_>>(), ["\n"]);
    }
    let ran = env.run(&["doctor", "--output", "raw"]);
    assert!(ran.code == 2 && ran.stderr.contains("--output raw"), "{}", ran.stderr);
}

#[test]
fn tok_29_ignored_client_id_is_noted() {
    let env = TestEnv::new();
    let id = &env.emulator.user_assigned().client_id;
    let run = |arguments: &[&str]| {
        let mut command = env.symbolon();
        RunResult::of(command.env("AZURE_CLIENT_ID", id).args(arguments).output().unwrap())
    };
    let token = ["token", "--resource", RESOURCE];
    let call = ["call", env.emulator.resource_url(), "--resource", RESOURCE];
    let exec = ["exec", "--", "/bin/true"];
    let note = format!(
        "note: AZURE_CLIENT_ID is not used: this is the system-assigned identity, or that of the host; add --identity client-id:{id} for the one that it names\n"
    );
    for arguments in [&token[..], &call, &exec] {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, note.as_str()), "{arguments:?}");
        let quiet = run(&[&["--quiet"], arguments].concat());
        assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{arguments:?}");
    }
    let named = format!("client-id:{id}");
    for identity in ["system", &named] {
        let ran = run(&[&token[..], &["--identity", identity]].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{identity}");
    }
}

#[test]
fn tok_30_id_without_kind_has_a_hint() {
    let env = TestEnv::new();
    let other = env.emulator.user_assigned();
    for (id, kinds) in
        [(&other.client_id, &["client-id", "object-id"][..]), (&other.resource_id, &["resource-id"])]
    {
        let ran = env.run(&["token", "--resource", RESOURCE, "--identity", id]);
        assert_eq!(ran.code, 2);
        for kind in kinds {
            assert!(ran.stderr.contains(&format!("{kind}:{id}")), "{}", ran.stderr);
        }
    }
}

/// The journal showed `null` for the claims that a request asks for.
#[test]
fn tok_09_claims_are_in_the_journal() {
    let env = TestEnv::new();
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let ran = env.run(&["token", "--resource", RESOURCE, "--key", "p-256", "--pop", "--claims", claims]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let journal = env.emulator.journal();
    let line = journal.last(Step::Token).unwrap().to_json();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["form"]["claims"], claims);
}
