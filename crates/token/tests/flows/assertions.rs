//! Assertions of other issuers: callbacks and workload identity.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use symbolon_token::{
    ClientAssertion, Error, ErrorKind, SignedAssertion, TokenClient, TokenOrigin, WorkloadIdentity,
    assertion_fn,
};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{Request, RetryPolicy};
use symbolon_types::{Context, CorrelationId, Env, Secret};

use crate::env::{at_endpoint, form, issued, refused_response};

#[tokio::test]
async fn callback_is_called_once_per_exchange() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let source = assertion_fn(move |_| {
        let number = counter.fetch_add(1, Ordering::SeqCst);
        async move { Ok(SignedAssertion::new(Secret::new(format!("assertion {number}")))) }
    });
    let unavailable = || refused_response(503, "temporarily_unavailable");
    let transport = ScriptedTransport::new([unavailable(), unavailable(), issued("one"), issued("two")]);
    let client = TokenClient::builder(ClientAssertion::new(at_endpoint(), source), transport.clone())
        .context(Context::default().with_retry_scale(0.0))
        .build();
    let token = client.token("a").await.unwrap();
    assert_eq!((token.attempts(), made.load(Ordering::SeqCst)), (3, 1));
    assert_eq!(client.token("a").await.unwrap().origin(), TokenOrigin::Cache);
    assert_eq!(made.load(Ordering::SeqCst), 1, "a hit needs no assertion");
    client.token("b").await.unwrap();
    assert_eq!(assertions(&transport), ["assertion 0", "assertion 0", "assertion 0", "assertion 1"]);
}

fn assertions(transport: &ScriptedTransport) -> Vec<String> {
    let assertion = |request: &Request| {
        let found = form(request).into_iter().find(|(name, _)| name == "client_assertion");
        found.map(|(_, value)| value).unwrap()
    };
    transport.requests().iter().map(assertion).collect()
}

/// A file that is removed when the test ends.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(CorrelationId::random().to_string());
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    /// A pipe without a writer.
    #[cfg(unix)]
    fn pipe() -> Self {
        let file = Self::new("");
        std::fs::remove_file(&file.0).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file.0).status().unwrap().success());
        file
    }

    fn client(&self, transport: &ScriptedTransport) -> TokenClient {
        let credential = ClientAssertion::new(at_endpoint(), WorkloadIdentity::new(&self.0));
        TokenClient::builder(credential, transport.clone())
            .retry(RetryPolicy::once())
            .context(Context::default().with_env(Env::empty()))
            .build()
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn federated_token_file_is_read_each_time() {
    let file = TokenFile::new(" first\n");
    let transport = ScriptedTransport::new([issued("one"), issued("two")]);
    let client = file.client(&transport);
    client.token("a").await.unwrap();
    std::fs::write(&file.0, "second").unwrap();
    assert_eq!(client.token("a").await.unwrap().origin(), TokenOrigin::Cache);
    client.token("b").await.unwrap();
    assert_eq!(assertions(&transport), ["first", "second"]);
}

#[tokio::test]
async fn invalid_federated_token_file_is_refused() {
    /// The maximum size of a token file.
    const LIMIT: usize = 64 * 1024;
    let transport = ScriptedTransport::new([issued("one")]);
    let missing = TokenFile::new("");
    std::fs::remove_file(&missing.0).unwrap();
    for (case, file, expected) in [
        ("missing", missing, "No such file"),
        ("empty", TokenFile::new(" \n"), "the file is empty"),
        ("only a mark", TokenFile::new("\u{feff}\n"), "the file is empty"),
        ("oversized", TokenFile::new("x".repeat(LIMIT + 1)), "the file is larger than 65536 bytes"),
        ("not a text", TokenFile::new(b"\xff\xfea\0"), "the file is not text in UTF-8"),
        ("two lines", TokenFile::new("one\ntwo"), "the file has more than one line"),
        ("quoted", TokenFile::new("\"eyJ.e30.c2ln\"\n"), "in quotes or in JSON"),
        ("quoted otherwise", TokenFile::new("'eyJ.e30.c2ln'"), "in quotes or in JSON"),
        #[cfg(unix)]
        ("a pipe", TokenFile::pipe(), "not a regular file"),
        ("an object", TokenFile::new(r#"{"value":"eyJ.e30.c2ln"}"#), "in quotes or in JSON"),
    ] {
        let error = file.client(&transport).token("a").await.unwrap_err();
        let facts = (error.code(), error.kind());
        assert_eq!(facts, ("invalid_client_assertion", ErrorKind::Credential), "{case}");
        assert!(error.correlation_id().is_some() && !error.advice().is_empty(), "{case}");
        assert!(error.to_string().contains(file.0.to_str().unwrap()), "{case} {error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(expected), "{case}: {cause}");
    }
    assert!(transport.requests().is_empty());
    TokenFile::new("x".repeat(LIMIT)).client(&transport).token("a").await.unwrap();
    assert_eq!(assertions(&transport)[0].len(), LIMIT);
}

#[test]
fn missing_variable_is_named() {
    let all = [
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_TENANT_ID", "contoso.example"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
    ];
    assert!(WorkloadIdentity::from_env(&all.into_iter().collect()).is_ok());
    for (missing, _) in all {
        let env: Env = all.into_iter().filter(|(name, _)| *name != missing).collect();
        let error: Error = WorkloadIdentity::from_env(&env).unwrap_err();
        let facts = (error.code(), error.kind());
        assert_eq!(facts, ("workload_identity_unavailable", ErrorKind::Environment));
        assert!(error.to_string().contains(&format!("{missing} is not set")), "{error}");
    }
}

#[test]
fn copied_variable_is_named() {
    let all = [
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_TENANT_ID", "contoso.example"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
    ];
    for (name, value, code, message) in [
        ("AZURE_CLIENT_ID", "\"client\"", "invalid_client_credential", "the client id is in quotes"),
        ("AZURE_CLIENT_ID", "client\n", "invalid_client_credential", "the client id ends with a line break"),
        ("AZURE_TENANT_ID", "'contoso.example'", "invalid_tenant", "the tenant is in quotes"),
        ("AZURE_TENANT_ID", "contoso.example\r\n", "invalid_tenant", "the tenant ends with a line break"),
        ("AZURE_AUTHORITY_HOST", "\"https://x\"", "invalid_authority", "the authority is in quotes"),
        ("AZURE_AUTHORITY_HOST", "http://login.example", "invalid_authority", "is not an https URL"),
    ] {
        let env: Env = all.into_iter().chain([(name, value)]).collect();
        let error: Error = WorkloadIdentity::from_env(&env).unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Request), "{name}={value:?}");
        assert!(error.to_string().starts_with(&format!("{name}: ")), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[tokio::test]
async fn authority_is_read_from_the_environment() {
    // Editors on Windows add a byte order mark and a line break.
    let file = TokenFile::new("\u{feff}federated\r\n");
    for (host, expected) in [
        (
            Some("login.microsoftonline.us"),
            "https://login.microsoftonline.us/contoso.example/oauth2/v2.0/token",
        ),
        (None, "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"),
        (
            Some("https://login.microsoftonline.us/"),
            "https://login.microsoftonline.us/contoso.example/oauth2/v2.0/token",
        ),
    ] {
        let variables = [
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_TENANT_ID", "contoso.example"),
            ("AZURE_FEDERATED_TOKEN_FILE", file.0.to_str().unwrap()),
        ];
        let env = variables.into_iter().chain(host.map(|host| ("AZURE_AUTHORITY_HOST", host))).collect();
        let transport = ScriptedTransport::new([issued("one")]);
        let credential = WorkloadIdentity::from_env(&env).unwrap();
        let client = TokenClient::builder(credential, transport.clone()).build();
        let token = client.token("a").await.unwrap();
        assert_eq!((token.client_id(), token.tenant_id()), (Some("client"), Some("contoso.example")));
        assert_eq!(transport.requests()[0].url().as_str(), expected);
        assert_eq!(assertions(&transport), ["federated"]);
    }
}
