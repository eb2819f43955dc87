//! Developer tools: command lines, output, processes.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use symbolon::parts::transport::Response;
use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::{AzureCli, AzureDeveloperCli, Context, Error, ErrorKind, TokenOrigin};

use symbolon_test_logs::CapturedLogs;

use crate::tool_folder::{
    AZ_LOGGED_OUT, AZD_LOGGED_OUT, NOW, TOKEN, ToolFolder, VAULT, clock, prints_az_token, prints_azd_token,
    read_pids, wait_for_exit,
};

#[tokio::test]
async fn azure_cli_token_is_cached() {
    let tools = ToolFolder::az(&prints_az_token());
    let chain = tools.azure_cli();
    let token = chain.token(VAULT).await.unwrap();
    assert_eq!((token.secret().expose(), token.token_type(), token.audience()), (TOKEN, "Bearer", VAULT));
    let ends = token.expires_on().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!((ends, token.origin()), (NOW + 3600, TokenOrigin::Network));
    // The same resource, written as a scope.
    let again = chain.token("https://vault.azure.net/.default").await.unwrap();
    assert_eq!(again.origin(), TokenOrigin::Cache);
    assert_eq!(
        tools.calls("az"),
        ["account get-access-token --output json --resource https://vault.azure.net"]
    );
    chain.token(VAULT).force_refresh().await.unwrap();
    assert_eq!(tools.calls("az").len(), 2);
    assert!(chain.invalidate(&chain.token(VAULT).await.unwrap()));
    chain.token(VAULT).await.unwrap();
    assert_eq!(tools.calls("az").len(), 3);
}

#[tokio::test]
async fn azure_developer_cli_gets_a_scope() {
    let tools = ToolFolder::azd(&prints_azd_token());
    let chain = tools
        .chain()
        .azure_developer_cli(AzureDeveloperCli::new().tenant("contoso.example").unwrap())
        .build()
        .unwrap();
    let token = chain.token("https://vault.azure.net/").await.unwrap();
    assert_eq!(token.secret().expose(), TOKEN);
    let ends = token.expires_on().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(ends, NOW + 3600);
    assert_eq!(
        tools.calls("azd"),
        [
            "auth token --output json --no-prompt --scope https://vault.azure.net//.default --tenant-id contoso.example"
        ]
    );
}

/// The tool runs in UTC, because versions before 2.54 print local time.
#[tokio::test]
async fn tool_expiry_is_read_in_every_format() {
    let in_local_time = format!(
        "printf '{{\"accessToken\": \"t\", \"expiresOn\": \"%s\"}}' \"$(date -d @{} '+%Y-%m-%d %H:%M:%S.123456')\"",
        NOW + 3600
    );
    for (script, expected) in [
        (in_local_time.as_str(), 3600),
        (
            r#"echo '{"accessToken": "t", "expires_on": 1700000060, "expiresOn": "2023-11-20 00:00:00.0"}'"#,
            60,
        ),
        (r#"echo '{"accessToken": "t", "expires_on": "1700000060"}'"#, 60),
        (r#"echo '{"token": "t", "expiresOn": "2023-11-15T00:13:20+01:00"}'"#, 3600),
    ] {
        let tools = ToolFolder::az(script);
        let chain = tools
            .chain()
            .context(tools.context().with_env(tools.env_with(&[("TZ", "EST5")])))
            .azure_cli(AzureCli::new());
        let token = chain.build().unwrap().token(VAULT).await.unwrap();
        let left = token.expires_on().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() - NOW;
        assert_eq!(left, expected, "{script}");
    }
}

#[tokio::test]
async fn tool_accounts_are_cached_separately() {
    let tools = ToolFolder::az(&prints_az_token());
    let cache = symbolon::TokenCache::new(10, &Context::default().with_clock(&clock()));
    for (tool, expected) in [
        (AzureCli::new(), ""),
        (AzureCli::new().tenant("contoso.example").unwrap(), " --tenant contoso.example"),
        (AzureCli::new().tenant("fabrikam.example").unwrap(), " --tenant fabrikam.example"),
        (AzureCli::new().tenant("t").unwrap().subscription("My sub_1").unwrap(), " --subscription My sub_1"),
    ] {
        let chain = tools.chain().cache(cache.clone()).azure_cli(tool).build().unwrap();
        assert_eq!(chain.token(VAULT).await.unwrap().origin(), TokenOrigin::Network);
        let called = tools.calls("az").pop().unwrap();
        assert_eq!(called, format!("account get-access-token --output json --resource {VAULT}{expected}"));
    }
    assert_eq!(cache.len(), 4);
    // Another user of the same machine and cache.
    let chain = tools
        .chain()
        .cache(cache)
        .context(tools.context().with_env(tools.env_with(&[("HOME", "/home/other")])));
    let chain = chain.azure_cli(AzureCli::new()).build().unwrap();
    assert_eq!(chain.token(VAULT).await.unwrap().origin(), TokenOrigin::Network);
}

/// A login as another user changes a file of the tool, in a folder that a variable may select.
#[tokio::test]
async fn tool_logins_are_cached_separately() {
    let cache = symbolon::TokenCache::new(10, &Context::default().with_clock(&clock()));
    for (variable, folder, file, is_azd) in [
        ("HOME", ".azure", "azureProfile.json", false),
        ("AZURE_CONFIG_DIR", "", "azureProfile.json", false),
        ("HOME", ".azd", "auth.json", true),
        ("AZD_CONFIG_DIR", "", "auth.json", true),
    ] {
        let tools = match is_azd {
            true => ToolFolder::azd(&prints_azd_token()),
            false => ToolFolder::az(&prints_az_token()),
        };
        let home = tools.path("home");
        std::fs::create_dir_all(home.join(folder)).unwrap();
        let context = tools.context().with_env(tools.env_with(&[(variable, home.to_str().unwrap())]));
        // Each is another process with the same cache.
        let source = async || {
            let chain = tools.chain().cache(cache.clone()).context(context.clone());
            let chain = match is_azd {
                true => chain.azure_developer_cli(AzureDeveloperCli::new()),
                false => chain.azure_cli(AzureCli::new()),
            };
            chain.build().unwrap().token(VAULT).await.unwrap().origin()
        };
        for user in ["one", "two"] {
            std::fs::write(home.join(folder).join(file), user).unwrap();
            assert_eq!(source().await, TokenOrigin::Network, "{variable} {file} {user}");
            assert_eq!(source().await, TokenOrigin::Cache, "{variable} {file} {user}");
        }
    }
}

#[tokio::test]
async fn unsafe_arguments_are_refused() {
    for text in ["", "-t", "--query", "a b", "a;b", "$(id)", "a&b", "a\nb", "é", "a\"b", "%PATH%"] {
        for error in
            [AzureCli::new().tenant(text).unwrap_err(), AzureDeveloperCli::new().tenant(text).unwrap_err()]
        {
            assert_eq!((error.code(), error.kind()), ("invalid_configuration", ErrorKind::Request), "{text}");
        }
        let is_name = text == "a b";
        assert_eq!(AzureCli::new().subscription(text).is_ok(), is_name, "{text}");
        let tools = ToolFolder::az(&prints_az_token());
        let error = tools.azure_cli().token(text).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("invalid_scope", ErrorKind::Request), "{text}");
        assert_eq!(tools.calls("az"), [""; 0], "{text}");
    }
}

#[tokio::test]
async fn tool_refuses_claims() {
    let tools = ToolFolder::az(&prints_az_token());
    let error = tools.azure_cli().token(VAULT).claims(r#"{"access_token":{}}"#).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("claims_not_supported", ErrorKind::Request));
    assert_eq!(tools.calls("az"), [""; 0]);
}

async fn failure(tools: &ToolFolder) -> Error {
    let error = tools.azure_cli().token(VAULT).await.unwrap_err();
    assert!(error.correlation_id().is_some() && !error.advice().is_empty(), "{error}");
    assert!(!format!("{error:?} {error} {:?}", error.excerpt()).contains("eyJ"), "{error:?}");
    error
}

#[tokio::test]
async fn failed_tool_has_an_excerpt() {
    let session = "echo 'ERROR: AADSTS700082: The refresh token has expired. AADSTS700082 AADSTS50058' >&2
        echo 'To re-authenticate, please run: az login' >&2; exit 1";
    let error = failure(&ToolFolder::az(session)).await;
    assert_eq!((error.code(), error.kind()), ("azure_cli_failed", ErrorKind::Credential));
    assert_eq!(error.server_codes(), [700_082, 50_058]);
    assert!(error.to_string().starts_with("Azure CLI: `az` printed no token"), "{error}");
    assert!(error.to_string().ends_with("run `az login`: the token service refused the session"), "{error}");
    assert!(error.excerpt().unwrap().contains("The refresh token has expired"));

    let error =
        failure(&ToolFolder::az(&format!("echo 'a token: {TOKEN}'; echo 'it broke: {TOKEN}' >&2; exit 2")))
            .await;
    assert_eq!(error.code(), "azure_cli_failed");
    assert_eq!(error.excerpt(), Some("it broke: [redacted] "));

    let error = failure(&ToolFolder::az("kill -9 $$")).await;
    assert_eq!(error.code(), "azure_cli_failed");

    let tools = ToolFolder::none();
    std::fs::write(tools.path("az"), "#!/nowhere/interpreter\n").unwrap();
    std::fs::set_permissions(tools.path("az"), PermissionsExt::from_mode(0o755)).unwrap();
    let error = failure(&tools).await;
    assert_eq!(error.code(), "azure_cli_failed");
    assert!(error.to_string().contains("could not be run"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn tool_output_needs_a_valid_token() {
    for (printed, code) in [
        ("", "invalid_response"),
        ("not JSON", "invalid_response"),
        (r#"{"expires_on": 1700003600}"#, "invalid_response"),
        (r#"{"accessToken": "", "expires_on": 1700003600}"#, "invalid_response"),
        (r#"{"accessToken": "t"}"#, "invalid_response"),
        (r#"{"accessToken": "t", "expires_on": 1700000000}"#, "invalid_response"),
        (r#"{"accessToken": "t", "expiresOn": "N/A"}"#, "invalid_response"),
        (r#"{"accessToken": "t\u000d\u000aX: y", "expires_on": 1700003600}"#, "invalid_response"),
    ] {
        let error = failure(&ToolFolder::az(&format!("echo '{printed}'"))).await;
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Response), "{printed}");
    }
    let error = failure(&ToolFolder::az("printf '\\377\\376'")).await;
    assert_eq!(error.code(), "invalid_response");
    // The tool ignores a closed pipe and never ends.
    let endless = "trap '' PIPE; while :; do echo 0123456789012345678901234567890123456789; done 2>/dev/null";
    let error = failure(&ToolFolder::az(endless)).await;
    assert_eq!((error.code(), error.kind()), ("response_too_large", ErrorKind::Response));
}

/// A slash at the end belongs to the resource.
#[tokio::test]
async fn resource_reaches_the_tool_unchanged() {
    let tools = ToolFolder::az(&prints_az_token());
    tools.azure_cli().token("https://database.windows.net//.default").await.unwrap();
    assert_eq!(
        tools.calls("az"),
        ["account get-access-token --output json --resource https://database.windows.net/"]
    );
    let error = tools.azure_cli().token("vault.azure.net").await.unwrap_err();
    assert_eq!(error.code(), "invalid_scope");
    assert!(error.advice().contains("https://vault.azure.net"), "{error}");
}

/// Tools print colours and warnings around the token, also where a variable forbids it.
#[tokio::test]
async fn token_is_found_among_other_output() {
    let token = prints_az_token();
    for script in [
        format!("{token}; printf '\\033[0m'"),
        format!("echo 'WARNING: You have 2 updates available. {{az upgrade}}'; {token}"),
        format!("printf '\\357\\273\\277'; {token}"),
    ] {
        let token = ToolFolder::az(&script).azure_cli().token(VAULT).await.unwrap();
        assert_eq!(token.secret().expose(), TOKEN, "{script}");
    }
}

#[tokio::test]
async fn colours_and_warnings_are_switched_off() {
    let shows = "echo \"$AZURE_CORE_NO_COLOR $AZURE_CORE_ONLY_SHOW_ERRORS $NO_COLOR $AZD_SKIP_UPDATE_CHECK\" > \"$OUT\"";
    let az = ToolFolder::az(&format!("{shows}; {}", prints_az_token()));
    let azd = ToolFolder::azd(&format!("{shows}; {}", prints_azd_token()));
    for (tools, expected) in [(&az, "true true 1 \n"), (&azd, "  1 true\n")] {
        let out = tools.path("out").display().to_string();
        let chain = tools.chain().context(tools.context().with_env(tools.env_with(&[("OUT", &out)])));
        let chain = chain.azure_cli(AzureCli::new()).azure_developer_cli(AzureDeveloperCli::new());
        chain.build().unwrap().token(VAULT).await.unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), expected);
    }
}

/// The three forms of the Azure Developer CLI, and one over several lines.
#[tokio::test]
async fn tool_error_in_json_is_read() {
    for stderr in [
        r#"{"type":"consoleMessage","data":{"message":"\nERROR: fetching token: AADSTS90002: no tenant x.\n"}}"#,
        r#"{"type":"consoleMessage","data":{"message":"\n"}}
{"error":"ERROR: fetching token: AADSTS90002: no tenant x.\n"}"#,
        r#"{"error":"ERROR: fetching token: AADSTS90002: no tenant x.","links":[{"title":"azd auth login"}]}"#,
        r#"{
  "error": "ERROR: fetching token: AADSTS90002: no tenant x."
}"#,
    ] {
        let tools = ToolFolder::azd(&format!("cat >&2 <<'END'\n{stderr}\nEND\nexit 1"));
        let error = tools.azure_developer_cli().token(VAULT).await.unwrap_err();
        assert_eq!(error.code(), "azure_developer_cli_failed", "{stderr}");
        assert_eq!(error.excerpt(), Some("ERROR: fetching token: AADSTS90002: no tenant x."), "{stderr}");
        assert_eq!((error.server_codes(), error.advice()), (&[90_002][..], "check the tenant"));
    }
    // The tool prints its error as its result.
    let tools = ToolFolder::azd(r#"echo '{"error":"it broke"}'; exit 1"#);
    let error = tools.azure_developer_cli().token(VAULT).await.unwrap_err();
    assert_eq!(error.excerpt(), Some("it broke"));
}

/// The advice follows from the number, as for the token service.
#[tokio::test]
async fn tool_error_has_advice_of_its_number() {
    for (number, expected) in [
        (500_011, "check the resource, and that the client is allowed to request it"),
        (700_016, "check the client id, and that the application exists in this tenant"),
        (50_076, "run `az login`: the token service refused the session"),
        (99_999, "see the excerpt of its output, and run `az` by hand"),
    ] {
        let script =
            format!("echo 'ERROR: AADSTS{number}: x. To re-authenticate, please run: az login' >&2; exit 1");
        let error = failure(&ToolFolder::az(&script)).await;
        assert_eq!((error.code(), error.server_codes()), ("azure_cli_failed", &[number][..]));
        assert_eq!(error.advice(), expected, "{number}");
    }
}

/// Other errors name the command that logs in as well.
#[tokio::test]
async fn named_login_command_does_not_skip_a_link() {
    for stderr in [
        "ERROR: The subscription of x doesn''t exist. Run az login --tenant T to see others.",
        "ERROR: (pii). Interactive authentication is needed. Please run: az login --scope x",
        "ERROR: az login failed to write to /home/user/.azure: disk full",
        "ERROR: AADSTS50173: the session was revoked. Please run ''az login'' to setup account.",
    ] {
        let tools = ToolFolder::az(&format!("echo \"{stderr}\" >&2; exit 1").replace("''", "'"))
            .with("azd", &prints_azd_token());
        let chain = tools.chain().azure_cli(AzureCli::new()).azure_developer_cli(AzureDeveloperCli::new());
        let error = chain.build().unwrap().token(VAULT).await.unwrap_err();
        assert_eq!(error.code(), "azure_cli_failed", "{stderr}");
        assert_eq!(tools.calls("azd"), [""; 0], "{stderr}");
    }
}

#[tokio::test]
async fn stderr_of_a_tool_is_drained() {
    let chatty =
        format!("i=0; while [ $i -lt 20000 ]; do echo warning >&2; i=$((i+1)); done; {}", prints_az_token());
    let token = ToolFolder::az(&chatty).azure_cli().token(VAULT).await.unwrap();
    assert_eq!(token.secret().expose(), TOKEN);
}

#[tokio::test]
async fn tool_needs_an_absolute_executable() {
    let tools = ToolFolder::az(&prints_az_token());
    // The folder, relative to the current directory.
    let depth = std::env::current_dir().unwrap().components().count();
    let relative = format!("{}{}", "../".repeat(depth), tools.path("").display());
    assert!(std::path::Path::new(&relative).join("az").exists());
    for path in ["", ".", &relative, "/nowhere", &tools.path("az").display().to_string()] {
        let env = [("PATH", path)].into_iter().collect();
        let chain =
            tools.chain().context(tools.context().with_env(env)).azure_cli(AzureCli::new()).build().unwrap();
        let error = chain.token(VAULT).await.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("no_credential_available", ErrorKind::Environment),
            "{path}"
        );
        assert!(error.to_string().contains("[Azure CLI: `az` is not in"), "{error}");
    }
    std::fs::set_permissions(tools.path("az"), PermissionsExt::from_mode(0o644)).unwrap();
    let only = [("PATH", tools.path("").display().to_string())].into_iter().collect();
    let chain =
        tools.chain().context(tools.context().with_env(only)).azure_cli(AzureCli::new()).build().unwrap();
    assert_eq!(chain.token(VAULT).await.unwrap_err().code(), "no_credential_available");
}

#[tokio::test]
async fn tool_gets_only_the_given_variables() {
    let script = format!("echo \"$MINE $CARGO_PKG_NAME\" > \"$OUT\"; {}", prints_az_token());
    let tools = ToolFolder::az(&script);
    let out = tools.path("out").display().to_string();
    let env = tools.env_with(&[("MINE", "given"), ("OUT", &out)]);
    let chain =
        tools.chain().context(tools.context().with_env(env)).azure_cli(AzureCli::new()).build().unwrap();
    chain.token(VAULT).await.unwrap();
    assert_eq!(std::fs::read_to_string(out).unwrap(), "given \n");
}

#[tokio::test]
async fn missing_login_is_read_from_stderr() {
    for (tools, chain, advice) in [
        (ToolFolder::az(AZ_LOGGED_OUT), ToolFolder::azure_cli as fn(&ToolFolder) -> _, "run `az login`"),
        (ToolFolder::azd(AZD_LOGGED_OUT), ToolFolder::azure_developer_cli, "run `azd auth login`"),
    ] {
        let error = chain(&tools).token(VAULT).await.unwrap_err();
        assert_eq!(error.code(), "no_credential_available");
        assert!(error.to_string().contains("no user is logged in to the Azure"), "{error}");
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[tokio::test]
async fn call_uses_the_transport_of_the_chain() {
    let tools = ToolFolder::az(&prints_az_token());
    let transport = ScriptedTransport::new([Ok(Response::new(StatusCode::IM_A_TEAPOT, "tea"))]);
    let chain = tools.chain().transport(transport.clone()).azure_cli(AzureCli::new()).build().unwrap();
    let token = chain.token(VAULT).await.unwrap();
    let to = |url: &str| http::Request::get(url).body(bytes::Bytes::new()).unwrap();
    let response = chain.call(&token, to("https://contoso.vault.azure.net/secrets/x")).await.unwrap();
    assert_eq!((response.status(), &response.body()[..]), (StatusCode::IM_A_TEAPOT, &b"tea"[..]));
    let sent = transport.requests()[0].headers()["authorization"].clone();
    assert_eq!(sent.to_str().unwrap(), format!("Bearer {TOKEN}"));
    let error = chain.call(&token, to("http://contoso.vault.azure.net/")).await.unwrap_err();
    assert_eq!((error.code(), transport.requests().len()), ("insecure_endpoint", 1));
}

/// Adds a tool that never ends, with a child that holds its stdout open.
fn endless(tools: ToolFolder) -> ToolFolder {
    let file = tools.path("pids").display().to_string();
    tools.with("az", &format!("sleep 1000 & echo $$ $! > '{file}'; wait"))
}

#[tokio::test]
async fn slow_tool_is_killed_with_its_children() {
    let tools = endless(ToolFolder::none());
    let manual_clock = clock();
    let chain = tools
        .chain()
        .context(tools.context().with_clock(&manual_clock))
        .azure_cli(AzureCli::new())
        .build()
        .unwrap();
    let mut future = chain.token(VAULT).into_future();
    assert!((&mut future).now_or_never().is_none());
    let pids = read_pids(&tools.path("pids")).await;
    manual_clock.advance(Duration::from_secs(12));
    assert!((&mut future).now_or_never().is_none());
    manual_clock.advance(Duration::from_secs(1));
    let error = future.now_or_never().unwrap().unwrap_err();
    assert_eq!((error.code(), error.kind()), ("timeout", ErrorKind::Network));
    assert!(error.to_string().contains("did not end within 13s, and was killed"), "{error}");
    for pid in pids.split_whitespace() {
        wait_for_exit(pid).await;
    }
}

#[tokio::test]
async fn dropped_tool_is_killed_with_its_children() {
    let tools = endless(ToolFolder::none());
    let chain = tools.azure_cli();
    let mut future = chain.token(VAULT).into_future();
    assert!((&mut future).now_or_never().is_none());
    let pids = read_pids(&tools.path("pids")).await;
    drop(future);
    for pid in pids.split_whitespace() {
        wait_for_exit(pid).await;
    }
}

#[tokio::test]
async fn concurrent_callers_share_one_run() {
    let tools = ToolFolder::az(&prints_az_token());
    let chain = tools.azure_cli();
    let futures: Vec<_> = (0..20).map(|_| chain.token(VAULT).into_future()).collect();
    for result in futures_util::future::join_all(futures).await {
        assert_eq!(result.unwrap().secret().expose(), TOKEN);
    }
    assert_eq!(tools.calls("az").len(), 1);
}

/// Prints a token of the user whose name is in a file.
fn prints_token_of(file: &str) -> String {
    format!(r#"printf '{{"accessToken": "of-%s", "expires_on": {}}}' "$(cat '{file}')""#, NOW + 3600)
}

#[tokio::test]
async fn login_as_another_user_runs_the_tool() {
    let folder = ToolFolder::none();
    let profile = folder.path("azureProfile.json").display().to_string();
    let tools = folder.with("az", &prints_token_of(&profile));
    let chain = tools.azure_cli();
    for (user, calls) in [("a", 1), ("b", 2), ("a", 3)] {
        tools.log_in(user);
        for _ in 0..3 {
            let token = chain.token(VAULT).await.unwrap();
            assert_eq!(token.secret().expose(), format!("of-{user}"));
        }
        assert_eq!(tools.calls("az").len(), calls);
    }
}

/// Another user logs in while the tool runs, and the first one after it, with equal files.
#[tokio::test]
async fn login_during_the_run_keeps_no_token() {
    let folder = ToolFolder::none();
    let profile = folder.path("azureProfile.json").display().to_string();
    let log_in = format!("[ -e '{profile}.b' ] && mv '{profile}.b' '{profile}'");
    let tools = folder.with("az", &format!("{log_in}\n{}", prints_token_of(&profile)));
    let chain = tools.azure_cli();
    tools.log_in("a");
    std::fs::write(format!("{profile}.b"), "b").unwrap();
    for user in ["b", "a"] {
        let token = chain.token(VAULT).await.unwrap();
        assert_eq!(token.secret().expose(), format!("of-{user}"));
        tools.log_in("a");
    }
}

#[tokio::test]
async fn each_account_file_of_azd_counts() {
    let tools = ToolFolder::azd(&prints_azd_token());
    let folder = tools.path("").display().to_string();
    let env = tools.env_with(&[("AZD_CONFIG_DIR", &folder)]);
    let chain = tools.chain().context(tools.context().with_env(env));
    let chain = chain.azure_developer_cli(AzureDeveloperCli::new()).build().unwrap();
    let mut calls = 0;
    for file in ["auth.json", "config.json", "azureProfile.json"] {
        for text in ["{}", "{ }"] {
            std::fs::write(tools.path(file), text).unwrap();
            chain.token(VAULT).await.unwrap();
            calls += 1;
            assert_eq!(chain.token(VAULT).await.unwrap().origin(), TokenOrigin::Cache, "{file}");
            assert_eq!(tools.calls("azd").len(), calls, "{file}");
        }
    }
}

/// Nothing would show that another user logged in.
#[tokio::test]
async fn token_of_an_unknown_account_is_not_kept() {
    let tools = ToolFolder::az(&prints_az_token());
    std::fs::remove_file(tools.path("azureProfile.json")).unwrap();
    let chain = tools.azure_cli();
    for calls in [1, 2] {
        let requests = (0..5).map(|_| chain.token(VAULT).into_future());
        for token in futures_util::future::join_all(requests).await {
            assert_eq!(token.unwrap().secret().expose(), TOKEN);
        }
        assert_eq!(tools.calls("az").len(), calls, "requests at the same time share a run");
    }
}

/// Set in a process that counts its own threads and descriptors.
const COUNTING: &str = "SYMBOLON_TEST_COUNTS_DESCRIPTORS";

/// A process that the tool leaves behind keeps its pipes open.
#[tokio::test]
async fn process_left_behind_leaks_nothing() {
    if symbolon::Env::process().var(COUNTING).is_none() {
        let name = "tools::process_left_behind_leaks_nothing";
        let test = std::env::current_exe().unwrap();
        let counted = std::process::Command::new(test).args(["--exact", name]).env(COUNTING, "1").output();
        let counted = counted.unwrap();
        assert!(counted.status.success(), "{}", String::from_utf8_lossy(&counted.stdout));
        return;
    }
    let folder = ToolFolder::none();
    let pids = folder.path("pids");
    let leave = format!("sleep 1000 & echo $! >> '{}'; {}", pids.display(), prints_az_token());
    let tools = folder.with("az", &leave);
    let chain = tools.azure_cli();
    let count = |of: &str| std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count();
    let counts = || (count("task"), count("fd"));
    let before = counts();
    let resources: Vec<_> = (0..20).map(|n| format!("https://{n}.example")).collect();
    let requests = resources.iter().map(|resource| chain.token(resource).into_future());
    for token in futures_util::future::join_all(requests).await {
        assert_eq!(token.unwrap().secret().expose(), TOKEN, "the token that was printed");
    }
    let clock = symbolon::SharedClock::system();
    for _ in 0..200 {
        if counts() != before {
            clock.sleep(Duration::from_millis(10)).await;
        }
    }
    let after = counts();
    let pids = std::fs::read_to_string(pids).unwrap();
    let killed = std::process::Command::new("kill").args(pids.split_whitespace()).status().unwrap();
    assert!(killed.success(), "the processes were still running");
    assert_eq!(pids.lines().count(), 20);
    assert_eq!(after, before, "threads and descriptors");
}

#[tokio::test]
async fn tool_output_is_not_logged() {
    let logs = CapturedLogs::begin();
    let failing = format!("echo 'a token: {TOKEN}'; echo 'it broke: {TOKEN}' >&2; exit 2");
    for script in [prints_az_token(), failing, format!("echo 'not JSON {TOKEN}'")] {
        let tools = ToolFolder::az(&script);
        let result = tools.azure_cli().token(VAULT).await;
        assert!(!format!("{result:?}").contains(TOKEN));
    }
    let text = logs.text();
    assert!(text.contains("fetched a token") && text.contains("could not fetch a token"), "{text}");
    assert!(!text.contains("eyJ"), "{text}");
}

#[test]
fn tool_needs_no_runtime() {
    let tools = ToolFolder::az(&prints_az_token());
    let chain = tools.azure_cli();
    let mut future = chain.token(VAULT).into_future();
    let token = loop {
        if let Some(result) = (&mut future).now_or_never() {
            break result.unwrap();
        }
        std::thread::yield_now();
    };
    assert_eq!(token.secret().expose(), TOKEN);
}
