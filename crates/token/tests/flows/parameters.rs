//! Parameters of requests, and the tenant of one request.

use symbolon_token::authority::Authority;
use symbolon_token::{Application, Caching, ErrorKind, TokenClient, TokenOrigin};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_types::Secret;

use crate::env::{client, client_of, form, issued};

#[tokio::test]
async fn parameters_go_to_body_or_query() {
    let (client, transport) = client([issued("plain"), issued("body"), issued("query"), issued("other")]);
    let get = async |name: &str, in_body: bool, value: &str, caching| {
        let request = client.token("a");
        let request = match in_body {
            true => request.body_parameter(name, value, caching),
            false => request.query_parameter(name, value, caching),
        };
        request.await.unwrap().secret().expose().to_owned()
    };
    assert_eq!(get("dc", true, "first", Caching::Unkeyed).await, "plain");
    assert_eq!(get("dc", true, "second", Caching::Unkeyed).await, "plain", "not part of the key");
    assert_eq!(get("dc", true, "first", Caching::Keyed).await, "body");
    assert_eq!(get("dc", false, "first", Caching::Keyed).await, "query", "a query parameter is different");
    assert_eq!(get("dc", false, "se&cond", Caching::Keyed).await, "other");
    assert_eq!(get("dc", true, "first", Caching::Keyed).await, "body");
    assert_eq!(get("dc", false, "first", Caching::Keyed).await, "query");
    let replaced = client.token("a").body_parameter("dc", "first", Caching::Keyed);
    let replaced = replaced.body_parameter("dc", "x", Caching::Unkeyed).await.unwrap();
    assert_eq!(replaced.secret().expose(), "plain", "the later of two values counts");

    let sent: Vec<_> = transport
        .requests()
        .iter()
        .map(|request| {
            let in_body = form(request).into_iter().find(|(name, _)| name == "dc").map(|(_, value)| value);
            (in_body, request.url().query().map(str::to_owned))
        })
        .collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        sent,
        [
            (text("first"), None),
            (text("first"), None),
            (None, text("dc=first")),
            (None, text("dc=se%26cond")),
        ]
    );
}

#[tokio::test]
async fn reserved_parameter_is_refused() {
    let (client, transport) = client([]);
    let own = form_names(&client, &transport).await;
    let others = ["client_assertion", "code", "refresh_token", "token_type", "username", "password", ""];
    for name in own.iter().map(String::as_str).chain(others) {
        let in_body = client.token("b").body_parameter(name, "x", Caching::Unkeyed).await;
        let in_query = client.token("b").query_parameter(name, "x", Caching::Keyed).await;
        for refused in [in_body, in_query] {
            let error = refused.unwrap_err();
            assert_eq!((error.code(), error.kind()), ("invalid_parameter", ErrorKind::Request), "{name}");
        }
    }
    assert_eq!(transport.requests().len(), 1, "nothing was sent");
}

/// Returns the parameter names of a request with all options.
async fn form_names(client: &TokenClient, transport: &ScriptedTransport) -> Vec<String> {
    client.on_behalf_of(&Secret::new("x"), "a").claims("{}").await.unwrap_err();
    let requests = transport.requests();
    let names = url::form_urlencoded::parse(requests[0].body()).map(|(name, _)| name.into_owned());
    let names: Vec<String> = names.collect();
    assert!(names.len() > 6, "{names:?}");
    names
}

#[tokio::test]
async fn tenant_has_own_endpoint_and_cache_key() {
    let transport = ScriptedTransport::new([issued("own"), issued("other")]);
    let authority = Authority::parse("https://login.microsoftonline.com/contoso.example").unwrap();
    let application = Application::new(authority, "client").unwrap();
    let client = client_of(application, &transport);
    for (tenant, secret, source) in [
        (None, "own", TokenOrigin::Network),
        (Some("Fabrikam.example"), "other", TokenOrigin::Network),
        (None, "own", TokenOrigin::Cache),
        (Some("fabrikam.example"), "other", TokenOrigin::Cache),
        (Some("contoso.example"), "own", TokenOrigin::Cache),
    ] {
        let request = client.token("a");
        let request = match tenant {
            Some(tenant) => request.tenant(tenant),
            None => request,
        };
        let token = request.await.unwrap();
        assert_eq!((token.secret().expose(), token.origin()), (secret, source), "{tenant:?}");
        let expected = if secret == "own" { "contoso.example" } else { "fabrikam.example" };
        assert_eq!(token.tenant_id(), Some(expected));
    }
    let paths: Vec<_> = transport.requests().iter().map(|request| request.url().path().to_owned()).collect();
    assert_eq!(paths, ["/contoso.example/oauth2/v2.0/token", "/fabrikam.example/oauth2/v2.0/token"]);
}

#[tokio::test]
async fn fixed_endpoint_has_no_other_tenant() {
    let (client, transport) = client([issued("own")]);
    client.token("a").await.unwrap();
    let error = client.token("a").tenant("fabrikam.example").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("invalid_tenant", ErrorKind::Request));
    assert_eq!(transport.requests().len(), 1);
}

/// Paths with characters of forms, and requests at the same time: each path has its own exchange.
#[tokio::test]
async fn fmi_paths_are_encoded_and_apart() {
    let paths =
        ["a b&c=d/\u{e4}%2F+#?", "a+b&c=d/\u{e4}%2F+#?", "a b&c=d/\u{e4}/+#?", "A b&c=d/\u{e4}%2F+#?"];
    let (client, transport) = client(["one", "two", "three", "four"].map(issued));
    let request = |path: &str| client.token("api").fmi_path(path).into_future();
    let requests = paths.iter().chain(&paths).map(|path| request(path));
    let tokens = futures_util::future::join_all(requests).await;
    let tokens: Vec<_> =
        tokens.into_iter().map(|token| token.unwrap().secret().expose().to_owned()).collect();
    assert_eq!(tokens[..4], tokens[4..]);
    let sent: Vec<_> = transport.requests().iter().map(form).collect();
    let sent = sent.iter().map(|form| form.iter().find(|(name, _)| name == "fmi_path").unwrap().1.clone());
    let mut sent: Vec<_> = sent.collect();
    sent.sort_unstable();
    let mut expected = paths.map(str::to_owned).to_vec();
    expected.sort_unstable();
    assert_eq!(sent, expected);
    let error = client.token("api").fmi_path("s3cr3t").await.unwrap_err();
    let shown = format!("{error} {error:?} {:?}", client.token("api").fmi_path("s3cr3t"));
    assert!(!shown.contains("s3cr3t"), "{shown}");
}
