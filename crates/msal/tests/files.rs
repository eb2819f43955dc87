//! Import and export, with files that MSAL Python writes and reads.

#![cfg(test)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::{Value, json};
use symbolon_token::authority::Authority;
use symbolon_token::{
    Account, Application, ClientSecret, MemoryStore, Token, TokenCache, TokenClient, TokenEndpoint,
    TokenOrigin,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Response, RetryPolicy, TransportError};
use symbolon_types::{Context, Env, Jitter, ManualClock, Secret, SharedClock};

/// The version of MSAL Python to install.
const MSAL: &str = "msal==1.39.0";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/msal_python.py");
const CLIENT_ID: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const VAULT: &str = "https://vault.azure.net/.default";
const STORAGE: &str = "https://storage.azure.com/.default";

fn application() -> Application {
    let authority = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
    Application::new(authority, CLIENT_ID).unwrap()
}

fn client(cache: &TokenCache, clock: &SharedClock, transport: &ScriptedTransport) -> TokenClient {
    let credential = ClientSecret::new(application(), Secret::new("secret")).unwrap();
    TokenClient::builder(credential, transport.clone())
        .context(Context::default().with_clock(clock.clone()))
        .cache(cache.clone())
        .retry(RetryPolicy::once())
        .build()
}

fn new_cache(clock: &SharedClock) -> TokenCache {
    TokenCache::new(100, &Context::default().with_clock(clock.clone()).with_jitter(Jitter::fixed(0.0)))
}

fn ok_response(body: &Value) -> Result<Response, TransportError> {
    Ok(Response::new(StatusCode::OK, body.to_string()))
}

fn shown(token: &Token) -> (&str, TokenOrigin) {
    (token.secret().expose(), token.origin())
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// Returns the interpreter of a virtual environment with MSAL, which is created once in the target
/// folder.
fn python() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("msal-python");
    let bin = home.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let interpreter = bin.join("python");
    let runs = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let has_msal = || runs(Command::new(&interpreter).args(["-c", "import msal"]));
    if !has_msal() {
        runs(Command::new("python3").args(["-m", "venv"]).arg(&home));
        runs(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet", MSAL]));
    }
    if has_msal() {
        return Some(interpreter);
    }
    assert!(Env::process().var("CI").is_none(), "MSAL Python could not be installed");
    eprintln!("skipped: MSAL Python could not be installed");
    None
}

fn run(python: &Path, mode: &str, input: &str) -> String {
    let mut command = Command::new(python);
    let command = command.arg(SCRIPT).arg(mode).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{mode}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn tokens_are_exchanged_with_msal_python() {
    let Some(python) = python() else { return };
    let mut written = parsed(&run(&python, "write", ""));
    // Members that another version of MSAL could add.
    written["Later"] = json!({"object": [1, "two", null]});
    for item in written["AccessToken"].as_object_mut().unwrap().values_mut() {
        item["x_unknown"] = json!({"kept": true});
    }
    let written_text = written.to_string();

    let clock = SharedClock::system();
    let cache = new_cache(&clock);
    let imported = symbolon_msal::import(&cache, &application(), &written_text).await.unwrap();
    assert_eq!((imported.access_tokens, imported.refresh_tokens, imported.skipped), (2, 1, 4));
    let [account] = &imported.accounts[..] else { panic!("one user") };
    assert_eq!((account.id(), account.username()), ("user-id.tenant-id", Some("user@contoso.example")));
    assert_eq!(account.tenant_id(), Some("tenant-id"));

    // The cache has no newer tokens, so that the file does not change.
    let exported =
        parsed(symbolon_msal::export(&cache, &application(), Some(&written_text)).unwrap().expose());
    assert_eq!(exported, written);

    // The imported tokens are served.
    let user = json!({
        "token_type": "Bearer", "access_token": "user-2", "expires_in": 3600, "refresh_token": "refresh-2",
    });
    let app = json!({"token_type": "Bearer", "access_token": "app-2", "expires_in": 3600});
    let transport = ScriptedTransport::new([ok_response(&user), ok_response(&app)]);
    let client = client(&cache, &clock, &transport);
    assert_eq!(shown(&client.token(VAULT).await.unwrap()), ("app-1", TokenOrigin::Cache));
    let token = client.token_for_resource("https://vault.azure.net").await.unwrap();
    assert_eq!(shown(&token), ("app-1", TokenOrigin::Cache));
    let token = client.token_for_account(account, "User.Read").await.unwrap();
    assert_eq!(shown(&token), ("user-1", TokenOrigin::Cache));
    assert_eq!(token.account().and_then(Account::username), Some("user@contoso.example"));
    // With the imported refresh token.
    assert_eq!(client.token_for_account(account, "Mail.Read").await.unwrap().secret().expose(), "user-2");
    let body = transport.requests()[0].body().clone();
    assert!(String::from_utf8_lossy(&body).contains("refresh_token=refresh-1"));
    assert_eq!(client.token(STORAGE).await.unwrap().secret().expose(), "app-2");

    // MSAL Python finds the newer tokens, with and without the old file as a base.
    let based = symbolon_msal::export(&cache, &application(), Some(&written_text)).unwrap();
    for exported in [&based, &symbolon_msal::export(&cache, &application(), None).unwrap()] {
        let found = parsed(&run(&python, "read", exported.expose()));
        assert_eq!(
            found,
            json!({
                "vault": "app-1",
                "storage": "app-2",
                "accounts": [["user-id.tenant-id", "user@contoso.example"]],
                "user": ["user-1", "user-2"],
                "posted": 0,
                "refresh_tokens": ["refresh-2"],
            })
        );
    }
    let based = parsed(based.expose());
    for object in ["Later", "IdToken", "Account", "AppMetadata"] {
        assert_eq!(based[object], written[object], "{object}");
    }
    for (name, item) in written["AccessToken"].as_object().unwrap() {
        assert_eq!(&based["AccessToken"][name], item, "{name}");
    }
}

/// A clock, and items of a cache file.
struct FileEnv {
    clock: SharedClock,
    now: u64,
}

impl FileEnv {
    fn new() -> Self {
        let now = 1_800_000_000;
        let manual_clock = ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        Self { clock: SharedClock::from(&manual_clock), now }
    }

    fn app_token(&self) -> Value {
        json!({
            "environment": "login.windows.net",
            "client_id": CLIENT_ID,
            "secret": "secret",
            "credential_type": "AccessToken",
            "realm": "contoso.example",
            "target": VAULT,
            "cached_at": self.now.to_string(),
            "expires_on": (self.now + 3600).to_string(),
            "extended_expires_on": (self.now + 3600).to_string(),
            "ext_expires_on": (self.now + 3600).to_string(),
        })
    }

    /// Imports a file with one access token, and returns the token for a request with scopes only.
    async fn import(&self, item: &Value) -> Option<Token> {
        let cache = new_cache(&self.clock);
        let file = json!({"AccessToken": {"any name": item}}).to_string();
        let imported = symbolon_msal::import(&cache, &application(), &file).await.unwrap();
        let token = client(&cache, &self.clock, &ScriptedTransport::new([])).token(VAULT).await.ok();
        assert_eq!(imported.access_tokens, usize::from(!cache.is_empty()));
        assert_eq!(imported.access_tokens + imported.skipped, 1);
        token
    }
}

#[tokio::test]
async fn only_plain_valid_tokens_are_imported() {
    let env = FileEnv::new();
    for (changes, is_served) in [
        (json!({}), true),
        (json!({"home_account_id": null, "token_type": "bearer", "client_info": "e30"}), true),
        (json!({"expires_on": env.now + 3600, "cached_at": env.now}), true),
        (json!({"environment": "login.microsoftonline.com", "realm": "Contoso.example"}), true),
        (json!({"client_id": CLIENT_ID.to_uppercase()}), true),
        (json!({"unknown": [1, 2]}), true),
        (json!({"token_type": "mtls_pop", "kid": "k"}), false),
        (json!({"kid": "k"}), false),
        (json!({"credential_type": "ATExt", "ext": {"client_claims": "{}"}}), false),
        (json!({"ext": {"client_claims": "{}"}}), false),
        (json!({"ext_cache_key": "9zkmmpcgsnevpwgbzd2f0seloxw9wyh9lk5shryk4zm"}), false),
        (json!({"environment": "login.microsoftonline.us"}), false),
        (json!({"environment": "login.foo.bar"}), false),
        (json!({"client_id": "another"}), false),
        (json!({"realm": "fabrikam.example"}), false),
        (json!({"target": "https://vault.azure.net/.default other"}), false),
        (json!({"home_account_id": "u.t"}), false),
        (json!({"user_assertion_hash": "AVnoMMZEZIKpTyFH2XA_PK6Z6ypyowRUKc4KD5HP-Og"}), false),
        (json!({"expires_on": env.now.to_string()}), false),
        (json!({"expires_on": (env.now + 4000 * 24 * 3600).to_string()}), false),
        (json!({"expires_on": "soon"}), false),
        (json!({"expires_on": u64::MAX}), false),
        (json!({"secret": ""}), false),
        (json!({"secret": 7}), false),
        (json!({"secret": "two\r\nX: lines"}), false),
    ] {
        let mut item = env.app_token();
        item.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        assert_eq!(env.import(&item).await.is_some(), is_served, "{changes}");
    }
}

#[tokio::test]
async fn token_is_served_for_its_assertion() {
    let env = FileEnv::new();
    let mut item = env.app_token();
    for (name, text) in [
        ("home_account_id", "u.t"),
        ("target", "openid profile User.Read"),
        ("user_assertion_hash", "AVnoMMZEZIKpTyFH2XA_PK6Z6ypyowRUKc4KD5HP-Og="),
    ] {
        item[name] = text.into();
    }
    let cache = new_cache(&env.clock);
    let file = json!({"AccessToken": {"": item}}).to_string();
    symbolon_msal::import(&cache, &application(), &file).await.unwrap();
    let client = client(&cache, &env.clock, &ScriptedTransport::new([]));
    let token = client.on_behalf_of(&Secret::new("user-assertion"), "User.Read").await.unwrap();
    assert_eq!((token.secret().expose(), token.account().map(Account::id)), ("secret", Some("u.t")));
    client.on_behalf_of(&Secret::new("another assertion"), "User.Read").await.unwrap_err();
    // The padding of MSAL Go does not make a different item.
    assert_eq!(
        parsed(symbolon_msal::export(&cache, &application(), Some(&file)).unwrap().expose())["AccessToken"],
        parsed(&file)["AccessToken"]
    );
}

#[tokio::test]
async fn newer_token_wins() {
    let env = FileEnv::new();
    let cache = new_cache(&env.clock);
    let file = |secret: &str, life: u64| {
        let mut item = env.app_token();
        item["secret"] = secret.into();
        item["expires_on"] = (env.now + life).to_string().into();
        item["refresh_on"] = (env.now + life / 2).to_string().into();
        json!({"AccessToken": {"any name": item}}).to_string()
    };
    let client = client(&cache, &env.clock, &ScriptedTransport::new([]));
    for (secret, life, served) in [("one", 2000, "one"), ("older", 1000, "one"), ("newer", 3000, "newer")] {
        symbolon_msal::import(&cache, &application(), &file(secret, life)).await.unwrap();
        assert_eq!(client.token(VAULT).await.unwrap().secret().expose(), served);
    }
    for (base, secret, has_hint) in
        [(file("older", 1000), "newer", false), (file("newest", 4000), "newest", true)]
    {
        let exported = parsed(symbolon_msal::export(&cache, &application(), Some(&base)).unwrap().expose());
        let items = exported["AccessToken"].as_object().unwrap();
        let item = &items["any name"];
        assert_eq!((items.len(), item["secret"].as_str()), (1, Some(secret)));
        assert_eq!(item.get("refresh_on").is_some(), has_hint);
    }
}

#[tokio::test]
async fn imported_refresh_token_goes_to_the_store() {
    let env = FileEnv::new();
    let store = MemoryStore::new(env.clock.clone());
    let alone = new_cache(&env.clock);
    let file = |secret: &str, issued: Option<u64>| {
        let mut item = json!({
            "home_account_id": "u.t", "environment": "login.windows.net", "client_id": CLIENT_ID,
            "secret": secret, "credential_type": "RefreshToken",
        });
        if let Some(issued) = issued {
            item["last_modification_time"] = issued.to_string().into();
        }
        json!({"RefreshToken": {"": item}}).to_string()
    };
    for (secret, issued, used) in [
        ("dated", Some(10), "dated"),
        ("older", Some(9), "dated"),
        ("undated", None, "dated"),
        ("newer", Some(11), "newer"),
    ] {
        let cache = new_cache(&env.clock).with_store(store.clone());
        let imported = symbolon_msal::import(&cache, &application(), &file(secret, issued)).await.unwrap();
        assert_eq!(imported.refresh_tokens, 1);
        symbolon_msal::import(&alone, &application(), &file(secret, issued)).await.unwrap();
        for cache in [&new_cache(&env.clock).with_store(store.clone()), &alone] {
            let transport = ScriptedTransport::new([]);
            let client = client(cache, &env.clock, &transport);
            client.token_for_account(&imported.accounts[0], "User.Read").await.unwrap_err();
            let body = transport.requests()[0].body().clone();
            assert!(String::from_utf8_lossy(&body).contains(&format!("refresh_token={used}&")), "{secret}");
        }
    }
}

#[tokio::test]
async fn keyed_tokens_are_not_exported() {
    let env = FileEnv::new();
    let cache = new_cache(&env.clock);
    let issued = |token: &str| {
        ok_response(&json!({"token_type": "Bearer", "access_token": token, "expires_in": 3600}))
    };
    let client = client(&cache, &env.clock, &ScriptedTransport::new(["a", "b", "c"].map(issued)));
    client.token(VAULT).await.unwrap();
    client.token(VAULT).claims_from_client(r#"{"access_token":{}}"#).await.unwrap();
    client.token(STORAGE).body_parameter("x", "y", symbolon_token::Caching::Keyed).await.unwrap();
    let exported = parsed(symbolon_msal::export(&cache, &application(), None).unwrap().expose());
    let items = exported["AccessToken"].as_object().unwrap();
    let name = format!("-login.microsoftonline.com-accesstoken-{CLIENT_ID}-contoso.example-{VAULT}");
    assert_eq!(items.keys().collect::<Vec<_>>(), [&name]);
    assert_eq!(
        items[&name],
        json!({
            "home_account_id": null,
            "environment": "login.microsoftonline.com",
            "client_id": CLIENT_ID,
            "secret": "a",
            "credential_type": "AccessToken",
            "realm": "contoso.example",
            "target": VAULT,
            "token_type": "Bearer",
            "cached_at": env.now.to_string(),
            "expires_on": (env.now + 3600).to_string(),
            "extended_expires_on": (env.now + 3600).to_string(),
            "ext_expires_on": (env.now + 3600).to_string(),
        })
    );
    for object in ["RefreshToken", "IdToken", "Account", "AppMetadata"] {
        assert_eq!(exported[object], json!({}), "{object}");
    }
}

#[tokio::test]
async fn malformed_file_is_refused() {
    let cache = new_cache(&SharedClock::system());
    for file in ["", "[]", "{", r#"{"AccessToken":[]}"#, r#"{"refreshtoken":"x"}"#] {
        assert_eq!(
            symbolon_msal::import(&cache, &application(), file).await.unwrap_err().code(),
            "json_parse_failed"
        );
        let error = symbolon_msal::export(&cache, &application(), Some(file)).unwrap_err();
        assert_eq!(error.code(), "json_parse_failed", "{file}");
    }
    let unusual = r#"{"AccessToken":{"x":1,"y":null,"z":{"secret":{}}},"Account":null,"other":7}"#;
    assert_eq!(symbolon_msal::import(&cache, &application(), unusual).await.unwrap().access_tokens, 0);
    let kept = parsed(symbolon_msal::export(&cache, &application(), Some(unusual)).unwrap().expose());
    assert_eq!((&kept["AccessToken"], &kept["other"]), (&parsed(unusual)["AccessToken"], &json!(7)));
    let fixed = Application::at(TokenEndpoint::parse("https://login.example/token").unwrap(), "c").unwrap();
    assert_eq!(symbolon_msal::import(&cache, &fixed, "{}").await.unwrap_err().code(), "invalid_authority");
    assert_eq!(symbolon_msal::export(&cache, &fixed, None).unwrap_err().code(), "invalid_authority");
}
