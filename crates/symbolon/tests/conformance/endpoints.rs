//! The requests of the sources: URL, parameters and headers.

use http::{HeaderMap, Method};
use symbolon::parts::transport::{Capabilities, Request, Response, Route, ServerAuth, transport_fn};
use symbolon::{Context, Env, ErrorKind, ManagedIdentity};
use symbolon_emulator::Source;

use crate::test_env::{ScriptedRun, answer, token, variables};

fn sent(source: Source) -> Request {
    let run = ScriptedRun::new(source, vec![token()]);
    run.result.unwrap();
    run.transport.requests().remove(0)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

/// The exact set of parameters and headers.
#[test]
fn each_source_has_its_own_request() {
    let management = "https://management.azure.com";
    for (source, method, version, headers, secret, pinned) in [
        (
            Source::AppService,
            Method::GET,
            Some("2019-08-01"),
            &["metadata", "x-identity-header"][..],
            "x-identity-header",
            false,
        ),
        (Source::ServiceFabric, Method::GET, Some("2020-05-01"), &["secret"], "secret", true),
        (Source::MachineLearning, Method::GET, Some("2017-09-01"), &["metadata", "secret"], "secret", false),
        (Source::CloudShell, Method::POST, None, &["content-type", "metadata"], "", false),
        (Source::AzureArc, Method::GET, Some("2020-06-01"), &["metadata"], "", false),
        (
            Source::Imds,
            Method::GET,
            Some("2018-02-01"),
            &["accept", "metadata", "x-client-sku", "x-client-ver", "x-ms-client-request-id"],
            "",
            false,
        ),
    ] {
        let request = sent(source);
        assert_eq!(request.method(), method, "{source}");
        assert_eq!(request.route(), Route::Local, "{source}: no proxy");
        assert_eq!(matches!(request.server_auth(), ServerAuth::Pinned(_)), pinned, "{source}");
        assert!(request.identity().is_none());
        let mut query: Vec<_> = request.url().query_pairs().into_owned().collect();
        query.sort();
        let mut expected = Vec::new();
        expected.extend(version.map(|version| ("api-version".to_owned(), version.to_owned())));
        if source == Source::MachineLearning {
            expected.push(("clientid".to_owned(), "default-client".to_owned()));
        }
        if source != Source::CloudShell {
            expected.push(("resource".to_owned(), management.to_owned()));
        }
        assert_eq!(query, expected, "{source}");
        let mut names: Vec<&str> = request.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, headers, "{source}");
        if !secret.is_empty() {
            assert_eq!(header(request.headers(), secret), Some("s3cr3t"), "{source}");
            assert!(request.headers()[secret].is_sensitive(), "{source}");
        }
        let body =
            if source == Source::CloudShell { "resource=https%3A%2F%2Fmanagement.azure.com" } else { "" };
        assert_eq!(request.body(), body, "{source}");
        assert_eq!(
            header(request.headers(), "metadata"),
            (source != Source::ServiceFabric).then_some("true")
        );
        assert!(!format!("{request:?}").contains("s3cr3t"));
    }
    let imds = sent(Source::Imds);
    assert_eq!(header(imds.headers(), "x-client-sku"), Some("symbolon"));
    assert_eq!(header(imds.headers(), "x-client-ver"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(header(imds.headers(), "x-ms-client-request-id").map(str::len), Some(36));
    assert_eq!(
        imds.url().as_str().split('?').next(),
        Some("http://127.0.0.1:9/metadata/identity/oauth2/token")
    );
}

#[test]
fn query_is_encoded_and_extended() {
    let variables = [("IDENTITY_ENDPOINT", "http://localhost:1/msi/token?a=b%20c"), ("IDENTITY_HEADER", "x")];
    let env: Env = variables.into_iter().collect();
    let transport = symbolon::parts::transport::testing::ScriptedTransport::new([token()]);
    let identity = ManagedIdentity::builder()
        .context(Context::default().with_env(env))
        .transport(transport.clone())
        .build()
        .unwrap();
    let resource = "https://x/?a=1&b=2#c+d e";
    futures_util::FutureExt::now_or_never(identity.token(resource).into_future()).unwrap().unwrap();
    let url = transport.requests()[0].url().clone();
    assert!(
        url.as_str().starts_with("http://localhost:1/msi/token?a=b%20c&api-version=2019-08-01&resource=")
    );
    let query: Vec<_> = url.query_pairs().into_owned().collect();
    assert_eq!(query.len(), 3);
    assert_eq!(query[2], ("resource".to_owned(), resource.to_owned()));
    assert_eq!(url.fragment(), None);
}

/// The value is not shown, and nothing is sent.
#[test]
fn invalid_variable_is_named() {
    for (source, variable, value) in [
        (Source::AppService, "IDENTITY_ENDPOINT", "127.0.0.1:41564/msi/token"),
        (Source::AppService, "IDENTITY_ENDPOINT", "unsupported://127.0.0.1/msi/token"),
        (Source::AppService, "IDENTITY_ENDPOINT", "localhost:41564/msi/token"),
        (Source::AppService, "IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi\n/token"),
        (Source::AppService, "IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token "),
        (Source::AppService, "IDENTITY_ENDPOINT", "\"http://127.0.0.1:1/msi/token\""),
        (Source::AppService, "IDENTITY_HEADER", "two\nlines"),
        (Source::AzureArc, "IDENTITY_ENDPOINT", "localhost/token"),
        (Source::CloudShell, "MSI_ENDPOINT", "localhost/token"),
        (Source::MachineLearning, "MSI_ENDPOINT", "127.0.0.1:41564/msi/token"),
        (Source::MachineLearning, "MSI_SECRET", "two\nlines"),
        (Source::AzureArc, "IDENTITY_ENDPOINT", "\u{feff}http://localhost/token"),
        (Source::CloudShell, "MSI_ENDPOINT", "'http://localhost/token'"),
        (Source::ServiceFabric, "IDENTITY_ENDPOINT", "localhost/token"),
        (Source::ServiceFabric, "IDENTITY_ENDPOINT", "http://localhost:2377/token"),
        (Source::ServiceFabric, "IDENTITY_SERVER_THUMBPRINT", "not hexadecimal"),
        (Source::ServiceFabric, "IDENTITY_SERVER_THUMBPRINT", "a9993e364706816aba3e25717850c26c9cd0d8"),
    ] {
        let names = [
            "IDENTITY_ENDPOINT",
            "IDENTITY_HEADER",
            "IDENTITY_SERVER_THUMBPRINT",
            "IMDS_ENDPOINT",
            "MSI_ENDPOINT",
            "MSI_SECRET",
            "DEFAULT_IDENTITY_CLIENT_ID",
        ];
        let env = variables(source);
        let whole = names.iter().filter_map(|name| Some((*name, env.var(name)?)));
        let env =
            whole.map(|(name, own)| (name, if name == variable { value.to_owned() } else { own })).collect();
        let run = ScriptedRun::in_env(env, vec![token()]);
        let error = run.result.unwrap_err();
        assert_eq!(error.code(), "invalid_managed_identity_endpoint", "{source} {value}");
        assert_eq!(error.kind(), ErrorKind::Environment);
        let message = error.to_string();
        assert!(message.contains(variable), "{message}");
        assert!(message.contains(&source.to_string()), "{message}");
        assert!(!message.contains(value), "{message}");
        assert!(run.transport.requests().is_empty(), "{source} {value}");
    }
}

#[test]
fn request_needs_a_resource() {
    for resource in ["", "/.default", "https://x\r\ny"] {
        let transport = symbolon::parts::transport::testing::ScriptedTransport::new([token()]);
        let builder =
            ManagedIdentity::builder().context(Context::default().with_env(variables(Source::AppService)));
        let identity = builder.transport(transport.clone()).build().unwrap();
        let result = futures_util::FutureExt::now_or_never(identity.token(resource).into_future());
        assert_eq!(result.unwrap().unwrap_err().code(), "invalid_scope");
        assert!(transport.requests().is_empty());
    }
}

/// The path in the variable is ignored.
#[test]
fn variable_sets_the_origin_of_imds() {
    for (base, expected) in [
        ("http://127.0.0.1:1", "http://127.0.0.1:1/metadata/identity/oauth2/token"),
        ("http://127.0.0.2:2/", "http://127.0.0.2:2/metadata/identity/oauth2/token"),
        (
            "http://127.0.0.3:3/metadata/identity/oauth2/token?x=y",
            "http://127.0.0.3:3/metadata/identity/oauth2/token",
        ),
    ] {
        let env: Env = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", base)].into_iter().collect();
        let run = ScriptedRun::in_env(env, vec![token()]);
        let url = run.transport.requests()[0].url().clone();
        assert_eq!(url.as_str().split('?').next(), Some(expected));
        assert_eq!(url.query_pairs().count(), 2);
    }
    let run = ScriptedRun::in_env(Env::empty(), vec![token()]);
    assert!(run.transport.requests()[0].url().as_str().starts_with("http://169.254.169.254/metadata/"));
}

#[test]
fn imds_gets_no_secret_of_other_sources() {
    let env: Env = [("IDENTITY_HEADER", "s3cr3t"), ("MSI_SECRET", "s3cr3t")].into_iter().collect();
    let run = ScriptedRun::in_env(env, vec![token()]);
    let requests = run.transport.requests();
    assert!(requests[0].headers().values().all(|value| value != "s3cr3t"));
}

#[tokio::test]
async fn sources_bypass_proxies() {
    let test_env = crate::test_env::SourceTestEnv::new().await;
    // No server listens on this port.
    let proxy = "http://127.0.0.1:9";
    let env: Env =
        [("HTTP_PROXY", proxy), ("HTTPS_PROXY", proxy), ("ALL_PROXY", proxy)].into_iter().collect();
    for source in Source::ALL {
        let transport = symbolon::HyperTransport::builder()
            .context(Context::default().with_env(env.clone()))
            .build()
            .unwrap();
        let identity = test_env.builder(source).transport(transport).build().unwrap();
        assert_eq!(identity.token("https://x").await.unwrap().token_type(), "Bearer", "{source}");
    }
}

/// The build fails with a transport that cannot pin certificates.
#[test]
fn service_fabric_needs_pinning() {
    let build = |capabilities: Capabilities, source| {
        let send = |_| async { Ok(Response::new(http::StatusCode::OK, "")) };
        let builder = ManagedIdentity::builder().context(Context::default().with_env(variables(source)));
        builder.transport(transport_fn(send).with_capabilities(capabilities)).build()
    };
    let error = build(Capabilities::none(), Source::ServiceFabric).unwrap_err();
    assert_eq!((error.code(), error.kind()), ("transport_unsupported", ErrorKind::Environment));
    assert!(build(Capabilities::none().with_pinned_servers(), Source::ServiceFabric).is_ok());
    for source in Source::ALL.into_iter().filter(|source| *source != Source::ServiceFabric) {
        assert!(build(Capabilities::none(), source).is_ok(), "{source}");
    }
}

/// Other success statuses and redirects are errors.
#[test]
fn only_status_200_has_a_token() {
    let body = r#"{"access_token":"t","expires_in":"3600"}"#;
    for status in [201, 202, 204, 302, 307] {
        for source in Source::ALL {
            let run = ScriptedRun::new(source, vec![answer(status, body)]);
            let error = run.result.unwrap_err();
            assert_eq!(error.code(), "managed_identity_request_failed", "{source} {status}");
            assert_eq!((error.status(), run.transport.requests().len()), (Some(status), 1));
        }
    }
}

/// Added headers and parameters reach every source, and separate tokens in a shared cache.
#[tokio::test]
async fn extras_are_sent_and_cached_apart() {
    use http::header::{HeaderName, HeaderValue};
    use symbolon::{TokenCache, TokenOrigin};

    let header = HeaderName::from_static("x-contoso");
    for source in Source::ALL {
        let sent = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let requests = std::sync::Arc::clone(&sent);
        let transport = transport_fn(move |request: Request| {
            requests.lock().unwrap().push(request);
            async { token() }
        });
        let transport = transport.with_capabilities(Capabilities::none().with_pinned_servers());
        let context = Context::default().with_env(variables(source));
        let cache = TokenCache::new(10, &context);
        let identity = |value: Option<&'static str>| {
            let builder = ManagedIdentity::builder()
                .context(context.clone())
                .cache(cache.clone())
                .transport(transport.clone());
            let builder = match value {
                Some(value) => builder
                    .source_header(header.clone(), HeaderValue::from_static(value))
                    .source_query_parameter("slice", "a b&c"),
                None => builder,
            };
            builder.build().unwrap()
        };
        for (value, origin) in [
            (None, TokenOrigin::Network),
            (Some("one"), TokenOrigin::Network),
            (Some("two"), TokenOrigin::Network),
            (Some("one"), TokenOrigin::Cache),
            (None, TokenOrigin::Cache),
        ] {
            let Ok(token) = identity(value).token("https://x").await else {
                // The challenge of the agent is not part of this test.
                assert_eq!(source, Source::AzureArc);
                break;
            };
            // A new identity reads the environment before it knows its part of the cache.
            assert_eq!(token.origin(), origin, "{source} {value:?}");
        }
        let sent = sent.lock().unwrap();
        let of = |value: Option<&str>| {
            let found = |request: &&Request| {
                request.headers().get(&header).and_then(|value| value.to_str().ok()) == value
            };
            sent.iter().filter(found).map(|request| request.url().to_string()).collect::<Vec<_>>()
        };
        for value in ["one", "two"] {
            let urls = of(Some(value));
            assert_eq!(urls.len(), 1, "{source} {urls:?}");
            assert!(urls[0].ends_with("slice=a+b%26c"), "{source} {urls:?}");
        }
        assert!(of(None).iter().all(|url| !url.contains("slice")), "{source}");
    }
}

/// A header or parameter that a source sets itself is refused.
#[test]
fn reserved_extras_are_refused() {
    use http::header::{HeaderName, HeaderValue};

    for name in ["metadata", "secret", "x-identity-header", "authorization", "host", "x-ms-client-request-id"]
    {
        let builder = ManagedIdentity::builder();
        let builder =
            builder.source_header(HeaderName::from_static(name), HeaderValue::from_static("s3cr3t"));
        let error = builder.build().unwrap_err();
        assert_eq!((error.code(), error.kind()), ("invalid_parameter", ErrorKind::Request), "{name}");
        assert!(error.to_string().contains(name) && !format!("{error:?}").contains("s3cr3t"), "{error}");
    }
    for name in ["", "resource", "api-version", "client_id", "ClientId", "principalId", "mi_res_id"] {
        let error = ManagedIdentity::builder().source_query_parameter(name, "s3cr3t").build().unwrap_err();
        assert_eq!((error.code(), error.kind()), ("invalid_parameter", ErrorKind::Request), "{name}");
    }
}
