//! The tools of developers: how they are run, and what is believed.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use symbolon::parts::transport::Response;
use symbolon::parts::transport::testing::ScriptedTransport;
use symbolon::{AzureCli, AzureDeveloperCli, Context, Error, ErrorKind, TokenSource};

use symbolon_test_logs::CapturedLogs;

use crate::lab::{
    AZ_LOGGED_OUT, AZD_LOGGED_OUT, NOW, TOKEN, Tools, VAULT, clock, gone, noted, prints_az_token,
    prints_azd_token,
};

#[tokio::test]
async fn a_token_of_the_azure_cli_is_fetched_once_and_kept() {
    let tools = Tools::az(&prints_az_token());
    let chain = tools.azure_cli();
    let token = chain.token(VAULT).await.unwrap();
    assert_eq!((token.secret().expose(), token.token_type(), token.audience()), (TOKEN, "Bearer", VAULT));
    let ends = token.expires_on().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!((ends, token.source()), (NOW + 3600, TokenSource::Network));
    // The same resource, as a caller who thinks in scopes writes it.
    let again = chain.token("https://vault.azure.net/.default").await.unwrap();
    assert_eq!(again.source(), TokenSource::Cache);
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
async fn the_azure_developer_cli_is_asked_for_a_scope() {
    let tools = Tools::azd(&prints_azd_token());
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
            "auth token --output json --no-prompt --scope https://vault.azure.net/.default --tenant-id contoso.example"
        ]
    );
}

/// The local time of versions before 2.54 is UTC for a child that is told so.
#[tokio::test]
async fn an_expiry_is_read_in_every_form() {
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
        let tools = Tools::az(script);
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
async fn tenants_and_subscriptions_are_put_on_the_command_line_and_kept_apart() {
    let tools = Tools::az(&prints_az_token());
    let cache = symbolon::TokenCache::new(10, &Context::default().with_clock(&clock()));
    for (tool, expected) in [
        (AzureCli::new(), ""),
        (AzureCli::new().tenant("contoso.example").unwrap(), " --tenant contoso.example"),
        (AzureCli::new().tenant("fabrikam.example").unwrap(), " --tenant fabrikam.example"),
        (AzureCli::new().tenant("t").unwrap().subscription("My sub_1").unwrap(), " --subscription My sub_1"),
    ] {
        let chain = tools.chain().cache(cache.clone()).azure_cli(tool).build().unwrap();
        assert_eq!(chain.token(VAULT).await.unwrap().source(), TokenSource::Network);
        let called = tools.calls("az").pop().unwrap();
        assert_eq!(called, format!("account get-access-token --output json --resource {VAULT}{expected}"));
    }
    assert_eq!(cache.len(), 4);
    // Another user of the machine, with a cache that both can read.
    let chain = tools
        .chain()
        .cache(cache)
        .context(tools.context().with_env(tools.env_with(&[("HOME", "/home/other")])));
    let chain = chain.azure_cli(AzureCli::new()).build().unwrap();
    assert_eq!(chain.token(VAULT).await.unwrap().source(), TokenSource::Network);
}

#[tokio::test]
async fn what_could_be_taken_for_an_option_or_a_command_is_refused_before_anything_runs() {
    for text in ["", "-t", "--query", "a b", "a;b", "$(id)", "a&b", "a\nb", "é", "a\"b", "%PATH%"] {
        for error in
            [AzureCli::new().tenant(text).unwrap_err(), AzureDeveloperCli::new().tenant(text).unwrap_err()]
        {
            assert_eq!((error.code(), error.kind()), ("invalid_configuration", ErrorKind::Request), "{text}");
        }
        let is_name = text == "a b";
        assert_eq!(AzureCli::new().subscription(text).is_ok(), is_name, "{text}");
        let tools = Tools::az(&prints_az_token());
        let error = tools.azure_cli().token(text).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("invalid_scope", ErrorKind::Request), "{text}");
        assert_eq!(tools.calls("az"), [""; 0], "{text}");
    }
}

#[tokio::test]
async fn claims_are_refused_and_not_dropped() {
    let tools = Tools::az(&prints_az_token());
    let error = tools.azure_cli().token(VAULT).claims(r#"{"access_token":{}}"#).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("claims_not_supported", ErrorKind::Request));
    assert_eq!(tools.calls("az"), [""; 0]);
}

async fn refusal(tools: &Tools) -> Error {
    let error = tools.azure_cli().token(VAULT).await.unwrap_err();
    assert!(error.correlation_id().is_some() && !error.advice().is_empty(), "{error}");
    assert!(!format!("{error:?} {error} {:?}", error.excerpt()).contains("eyJ"), "{error:?}");
    error
}

#[tokio::test]
async fn a_tool_that_fails_is_told_with_what_it_said() {
    let session = "echo 'ERROR: AADSTS700082: The refresh token has expired. AADSTS700082 AADSTS50058' >&2
        echo 'To re-authenticate, please run: az login' >&2; exit 1";
    let error = refusal(&Tools::az(session)).await;
    assert_eq!((error.code(), error.kind()), ("azure_cli_failed", ErrorKind::Credential));
    assert_eq!(error.server_codes(), [700_082, 50_058]);
    assert!(error.to_string().starts_with("Azure CLI: `az` printed no token"), "{error}");
    assert!(error.to_string().ends_with("run `az login`: the token service refused the session"), "{error}");
    assert!(error.excerpt().unwrap().contains("The refresh token has expired"));

    let error =
        refusal(&Tools::az(&format!("echo 'a token: {TOKEN}'; echo 'it broke: {TOKEN}' >&2; exit 2"))).await;
    assert_eq!(error.code(), "azure_cli_failed");
    assert_eq!(error.excerpt(), Some("it broke: [redacted] "));

    let error = refusal(&Tools::az("kill -9 $$")).await;
    assert_eq!(error.code(), "azure_cli_failed");

    let tools = Tools::none();
    std::fs::write(tools.path("az"), "#!/nowhere/interpreter\n").unwrap();
    std::fs::set_permissions(tools.path("az"), PermissionsExt::from_mode(0o755)).unwrap();
    let error = refusal(&tools).await;
    assert_eq!(error.code(), "azure_cli_failed");
    assert!(error.to_string().contains("could not be run"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn what_is_not_a_token_with_a_life_is_refused() {
    for (printed, code) in [
        ("", "invalid_response"),
        ("not JSON", "invalid_response"),
        (r#"{"expires_on": 1700003600}"#, "invalid_response"),
        (r#"{"accessToken": "", "expires_on": 1700003600}"#, "invalid_response"),
        (r#"{"accessToken": "t"}"#, "invalid_response"),
        (r#"{"accessToken": "t", "expires_on": 1700000000}"#, "invalid_response"),
        (r#"{"accessToken": "t", "expiresOn": "N/A"}"#, "invalid_response"),
    ] {
        let error = refusal(&Tools::az(&format!("echo '{printed}'"))).await;
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Response), "{printed}");
    }
    let error = refusal(&Tools::az("printf '\\377\\376'")).await;
    assert_eq!(error.code(), "invalid_response");
    // It would go on for ever, also when nobody reads any more.
    let endless = "trap '' PIPE; while :; do echo 0123456789012345678901234567890123456789; done 2>/dev/null";
    let error = refusal(&Tools::az(endless)).await;
    assert_eq!((error.code(), error.kind()), ("response_too_large", ErrorKind::Response));
}

#[tokio::test]
async fn what_a_tool_says_beside_its_token_neither_blocks_it_nor_counts() {
    let chatty =
        format!("i=0; while [ $i -lt 20000 ]; do echo warning >&2; i=$((i+1)); done; {}", prints_az_token());
    let token = Tools::az(&chatty).azure_cli().token(VAULT).await.unwrap();
    assert_eq!(token.secret().expose(), TOKEN);
}

#[tokio::test]
async fn a_tool_is_only_taken_from_absolute_folders_and_if_it_may_be_run() {
    let tools = Tools::az(&prints_az_token());
    // The folder itself, on the way from the current one.
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
        assert!(error.to_string().contains("[Azure CLI: there is no `az`"), "{error}");
    }
    std::fs::set_permissions(tools.path("az"), PermissionsExt::from_mode(0o644)).unwrap();
    let only = [("PATH", tools.path("").display().to_string())].into_iter().collect();
    let chain =
        tools.chain().context(tools.context().with_env(only)).azure_cli(AzureCli::new()).build().unwrap();
    assert_eq!(chain.token(VAULT).await.unwrap_err().code(), "no_credential_available");
}

#[tokio::test]
async fn a_tool_has_the_variables_of_the_environment_that_was_given_and_no_others() {
    let told = format!("echo \"$MINE $CARGO_PKG_NAME\" > \"$OUT\"; {}", prints_az_token());
    let tools = Tools::az(&told);
    let out = tools.path("out").display().to_string();
    let env = tools.env_with(&[("MINE", "given"), ("OUT", &out)]);
    let chain =
        tools.chain().context(tools.context().with_env(env)).azure_cli(AzureCli::new()).build().unwrap();
    chain.token(VAULT).await.unwrap();
    assert_eq!(std::fs::read_to_string(out).unwrap(), "given \n");
}

#[tokio::test]
async fn nobody_logged_in_is_known_from_what_each_tool_says() {
    for (tools, chain, told) in [
        (Tools::az(AZ_LOGGED_OUT), Tools::azure_cli as fn(&Tools) -> _, "run `az login`"),
        (Tools::azd(AZD_LOGGED_OUT), Tools::azure_developer_cli, "run `azd auth login`"),
    ] {
        let error = chain(&tools).token(VAULT).await.unwrap_err();
        assert_eq!(error.code(), "no_credential_available");
        assert!(error.to_string().contains("nobody is logged in to the Azure"), "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_call_carries_the_token_over_the_transport_of_the_chain() {
    let tools = Tools::az(&prints_az_token());
    let transport = ScriptedTransport::new([Ok(Response::new(StatusCode::IM_A_TEAPOT, "tea"))]);
    let chain = tools.chain().transport(transport.clone()).azure_cli(AzureCli::new()).build().unwrap();
    let token = chain.token(VAULT).await.unwrap();
    let to = |url: &str| http::Request::get(url).body(bytes::Bytes::new()).unwrap();
    let answer = chain.call(&token, to("https://contoso.vault.azure.net/secrets/x")).await.unwrap();
    assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::IM_A_TEAPOT, &b"tea"[..]));
    let sent = transport.requests()[0].headers()["authorization"].clone();
    assert_eq!(sent.to_str().unwrap(), format!("Bearer {TOKEN}"));
    let error = chain.call(&token, to("http://contoso.vault.azure.net/")).await.unwrap_err();
    assert_eq!((error.code(), transport.requests().len()), ("insecure_endpoint", 1));
}

/// Notes its own process and that of a child which holds its output open, and goes on.
fn endless(tools: Tools) -> Tools {
    let file = tools.path("pids").display().to_string();
    tools.with("az", &format!("sleep 1000 & echo $$ $! > '{file}'; wait"))
}

#[tokio::test]
async fn a_tool_that_does_not_end_is_killed_with_its_children() {
    let tools = endless(Tools::none());
    let hands = clock();
    let chain =
        tools.chain().context(tools.context().with_clock(&hands)).azure_cli(AzureCli::new()).build().unwrap();
    let mut asking = chain.token(VAULT).into_future();
    assert!((&mut asking).now_or_never().is_none());
    let pids = noted(&tools.path("pids")).await;
    hands.advance(Duration::from_secs(12));
    assert!((&mut asking).now_or_never().is_none());
    hands.advance(Duration::from_secs(1));
    let error = asking.now_or_never().unwrap().unwrap_err();
    assert_eq!((error.code(), error.kind()), ("timeout", ErrorKind::Network));
    assert!(error.to_string().contains("did not end within 13s, and was killed"), "{error}");
    for pid in pids.split_whitespace() {
        gone(pid).await;
    }
}

#[tokio::test]
async fn a_tool_that_nobody_waits_for_any_more_is_killed_with_its_children() {
    let tools = endless(Tools::none());
    let chain = tools.azure_cli();
    let mut asking = chain.token(VAULT).into_future();
    assert!((&mut asking).now_or_never().is_none());
    let pids = noted(&tools.path("pids")).await;
    drop(asking);
    for pid in pids.split_whitespace() {
        gone(pid).await;
    }
}

#[tokio::test]
async fn callers_who_ask_at_the_same_time_share_one_run() {
    let tools = Tools::az(&prints_az_token());
    let chain = tools.azure_cli();
    let asked: Vec<_> = (0..20).map(|_| chain.token(VAULT).into_future()).collect();
    for outcome in futures_util::future::join_all(asked).await {
        assert_eq!(outcome.unwrap().secret().expose(), TOKEN);
    }
    assert_eq!(tools.calls("az").len(), 1);
}

#[tokio::test]
async fn what_a_tool_prints_is_in_no_log() {
    let logs = CapturedLogs::begin();
    let failing = format!("echo 'a token: {TOKEN}'; echo 'it broke: {TOKEN}' >&2; exit 2");
    for script in [prints_az_token(), failing, format!("echo 'not JSON {TOKEN}'")] {
        let tools = Tools::az(&script);
        let outcome = tools.azure_cli().token(VAULT).await;
        assert!(!format!("{outcome:?}").contains(TOKEN));
    }
    let text = logs.text();
    assert!(text.contains("fetched a token") && text.contains("could not fetch a token"), "{text}");
    assert!(!text.contains("eyJ"), "{text}");
}

#[test]
fn a_tool_runs_without_any_runtime() {
    let tools = Tools::az(&prints_az_token());
    let chain = tools.azure_cli();
    let mut asking = chain.token(VAULT).into_future();
    let token = loop {
        if let Some(outcome) = (&mut asking).now_or_never() {
            break outcome.unwrap();
        }
        std::thread::yield_now();
    };
    assert_eq!(token.secret().expose(), TOKEN);
}
