//! The errors of sources.

use symbolon::parts::transport::{TransportError, TransportErrorKind};
use symbolon::{Error, ErrorKind};
use symbolon_emulator::{Fault, Source};

use crate::test_env::{RESOURCE, ScriptedRun, SourceTestEnv, answer, answer_with, step};

/// An error body in the source's own format, and the part that the excerpt must contain.
fn native(source: Source) -> (&'static str, &'static str) {
    match source {
        Source::AppService | Source::MachineLearning => (
            r#"{"statusCode":500,"message":"An unexpected error occured","correlationId":"7d0c9763-ff1d-4842-a3f3-6d49e64f4513"}"#,
            "correlation id: 7d0c9763-ff1d-4842-a3f3-6d49e64f4513",
        ),
        Source::CloudShell => (
            r#"{"error":{"code":"AudienceNotSupported","message":"Audience user.read is not supported"}}"#,
            "AudienceNotSupported",
        ),
        Source::ServiceFabric => (
            r#"{"error":{"correlationId":"7d0c9763-ff1d-4842-a3f3-6d49e64f4513","code":"SecretHeaderNotFound","message":"Secret is not found"}}"#,
            "correlation id: 7d0c9763-ff1d-4842-a3f3-6d49e64f4513",
        ),
        _ => (
            r#"{"error":"invalid_resource","error_description":"AADSTS500011: not found","error_codes":[500011],"timestamp":"x"}"#,
            "AADSTS500011",
        ),
    }
}

fn is_failure_of(error: &Error, source: Source, status: u16) {
    assert_eq!(error.code(), "managed_identity_request_failed", "{source}");
    assert_eq!((error.kind(), error.status()), (ErrorKind::Service, Some(status)), "{source}");
    assert!(error.to_string().contains(&source.to_string()), "{source}: {error}");
    assert!(!error.advice().is_empty() && error.correlation_id().is_some(), "{source}");
}

#[test]
fn error_has_source_status_and_excerpt() {
    for source in Source::ALL {
        let (body, expected) = native(source);
        let run =
            ScriptedRun::with_builder(source, vec![answer(500, body)], |builder| builder.without_retries());
        let error = run.result.unwrap_err();
        is_failure_of(&error, source, 500);
        assert!(
            error.excerpt().is_some_and(|excerpt| excerpt.contains(expected)),
            "{source}: {:?}",
            error.excerpt()
        );
        assert!(!error.to_string().contains(body), "the message has no text of the service");
        assert!(error.is_transient());
    }
}

/// A server that repeats the head of each request in its error.
fn repeating_server() -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => break,
                }
            }
            let head = String::from_utf8(head).unwrap();
            let body = match head.len() % 2 {
                0 => format!("<p>{head}</p>"),
                _ => serde_json::json!({"error": {"code": "x", "message": head}, "error_description": head})
                    .to_string(),
            };
            let length = body.len();
            let response = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            // A client that is gone needs no response.
            let _sent = stream.write_all(response.as_bytes());
        }
    });
    address
}

/// A server may repeat the secret of the request, in plain text and in JSON.
#[tokio::test]
async fn repeated_secret_is_not_shown() {
    let server = repeating_server();
    for (endpoint, variable) in [("IDENTITY_ENDPOINT", "IDENTITY_HEADER"), ("MSI_ENDPOINT", "MSI_SECRET")] {
        for secret in
            ["s", "s3cr3t", "s3cr3t7", "a\"b\\c/<d>", "\"&é\"", "5f1d2a3b-0000-4111-8222-333344445555"]
        {
            let env = [
                (endpoint, format!("http://{server}/token")),
                (variable, secret.to_owned()),
                ("DEFAULT_IDENTITY_CLIENT_ID", "default".to_owned()),
            ];
            let identity = symbolon::ManagedIdentity::builder()
                .context(symbolon::Context::default().with_env(env.into_iter().collect()))
                .without_retries()
                .build()
                .unwrap();
            // A path with another length changes the form of the response.
            for resource in ["https://one.example", "https://other.example", "https://a.example"] {
                let error = identity.token(resource).await.unwrap_err();
                assert_eq!(error.status(), Some(400), "{error:?}");
                let excerpt = error.excerpt().unwrap();
                assert!(excerpt.contains("[redacted]"), "{excerpt}");
                assert!(!excerpt.contains(secret), "{secret}: {excerpt}");
                let escaped = serde_json::to_string(secret).unwrap();
                assert!(!excerpt.contains(escaped.trim_matches('"')), "{secret}: {excerpt}");
            }
        }
    }
}

/// The key of the Azure Arc agent is a secret of the second request only, and Service Fabric is
/// reached over TLS.
#[test]
fn repeated_key_and_fabric_secret_are_hidden() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().canonicalize().unwrap();
    let key = directory.join("1.key");
    std::fs::write(&key, "arc-key").unwrap();
    let challenge = format!("Basic realm={}", key.display());
    let answers = vec![
        answer_with(401, &[("www-authenticate", &challenge)]),
        answer(
            400,
            r#"{"error":"x","error_description":"arc-key is wrong: Basic arc-key, basic%20arc-key"}"#,
        ),
    ];
    let run = ScriptedRun::with_builder(Source::AzureArc, answers, |builder| {
        builder.azure_arc_tokens(&directory).without_retries()
    });
    let error = run.result.unwrap_err();
    let hidden = "[redacted]";
    assert_eq!(error.excerpt(), Some(&*format!("x; {hidden} is wrong: {hidden}, {hidden}")));
    let answers =
        vec![answer(400, r#"{"error":{"code":"s3cr3t","message":"not \u00733cr3t"},"error_codes":[5]}"#)];
    let run = ScriptedRun::with_builder(Source::ServiceFabric, answers, |builder| builder.without_retries());
    assert_eq!(run.result.unwrap_err().excerpt(), Some(&*format!("{hidden}; not {hidden}")));
}

/// Neither the secret nor the token travels in clear over the internet.
#[test]
fn plain_http_to_public_address_is_refused() {
    for source in
        [Source::AppService, Source::MachineLearning, Source::CloudShell, Source::AzureArc, Source::Imds]
    {
        for address in ["203.0.113.7", "[2001:db8::7]", "[::ffff:203.0.113.7]", "0.0.0.0", "10.0.0.4"] {
            let variables = crate::test_env::variables(source);
            let variables = variables.explicit().into_iter().flatten();
            let env = variables.map(|(name, value)| {
                let value = value.replace("localhost", address).replace("127.0.0.1", address);
                (name.to_owned(), value)
            });
            let run = ScriptedRun::in_env(env.collect(), vec![crate::test_env::token()]);
            if address == "10.0.0.4" {
                assert_eq!((run.result.is_ok(), run.sent()), (true, 1), "{source}");
                continue;
            }
            assert_eq!(run.sent(), 0, "{source} {address}");
            let error = run.result.unwrap_err();
            assert_eq!(
                (error.code(), error.kind()),
                ("invalid_managed_identity_endpoint", ErrorKind::Environment),
                "{source} {address}"
            );
            let variable = source.info().required_variables.first();
            let variable = variable.copied().unwrap_or("AZURE_POD_IDENTITY_AUTHORITY_HOST");
            assert!(error.advice().contains(variable), "{error}");
        }
    }
}

#[test]
fn error_without_a_body_has_no_excerpt() {
    for source in Source::ALL {
        let run = ScriptedRun::new(source, (0..4).map(|_| answer(500, "")).collect());
        assert_eq!(run.transport.responses_left(), 0, "{source}");
        let error = run.result.unwrap_err();
        is_failure_of(&error, source, 500);
        assert!(error.excerpt().is_none_or(str::is_empty));
    }
}

#[test]
fn success_needs_a_valid_token() {
    for source in Source::ALL {
        for body in [
            "",
            "{}",
            "null",
            r#"{"access_token":"","expires_in":"3600"}"#,
            r#"{"access_token":"t"}"#,
            r#"{"access_token":"t","expires_in":"0"}"#,
            r#"{"access_token":"t","expires_on":"1699999999"}"#,
            r#"{"access_token":"t","expires_in":"3600""#,
        ] {
            let run = ScriptedRun::new(source, vec![answer(200, body)]);
            let error = run.result.unwrap_err();
            assert_eq!((error.code(), error.status()), ("invalid_response", Some(200)), "{source} {body}");
            assert_eq!(error.kind(), ErrorKind::Response);
            assert!(error.to_string().contains(&source.to_string()), "{error}");
        }
        // A short lifetime is valid, and neither type nor resource is required.
        for body in [
            r#"{"access_token":"t","expires_on":1700000300}"#,
            r#"{"access_token":"t","expires_on":"1700007200","resource":"x","token_type":"Bearer"}"#,
        ] {
            let token = ScriptedRun::new(source, vec![answer(200, body)]).result.unwrap();
            assert_eq!(token.token_type(), "Bearer", "{source}");
        }
    }
}

/// A source may start after the program that uses it; a failed handshake is final.
#[test]
fn unreachable_source_is_reported() {
    for source in Source::ALL {
        for kind in [TransportErrorKind::Connect, TransportErrorKind::Tls] {
            let failed = || Err(TransportError::new(kind).with_source("the cause"));
            let run = ScriptedRun::new(source, (0..9).map(|_| failed()).collect());
            let sent = run.sent();
            let error = run.result.unwrap_err();
            assert_eq!((error.code(), error.kind()), ("managed_identity_unreachable", ErrorKind::Network));
            let cause = std::error::Error::source(&error).unwrap();
            assert_eq!(cause.source().unwrap().to_string(), "the cause", "{source}");
            assert_eq!(error.is_transient(), kind == TransportErrorKind::Connect, "{source} {kind:?}");
            assert_eq!(sent, if error.is_transient() { 4 } else { 1 }, "{source} {kind:?}");
        }
    }
}

/// A 400 with a body of its own is not reported as a missing identity.
#[tokio::test]
async fn error_keeps_every_status() {
    let test_env = SourceTestEnv::new().await;
    for source in Source::ALL {
        for (status, body) in [
            (400, r#"{"error":"invalid_request","error_description":"Identity not found"}"#),
            (404, ""),
            (501, ""),
            (503, r#"{"error":""}"#),
        ] {
            test_env.emulator.inject(Fault::status(step(source), status).body(body));
            let identity = test_env.builder(source).without_retries().build().unwrap();
            let error = identity.token(RESOURCE).await.unwrap_err();
            is_failure_of(&error, source, status);
            assert!(!error.to_string().contains("not assigned"), "{error}");
        }
    }
}

/// A 400 can come from a proxy in front of the metadata service.
#[test]
fn foreign_400_has_no_identity_advice() {
    let message_from = |server: Option<&str>| {
        let headers: Vec<_> = server.map(|server| ("server", server)).into_iter().collect();
        let run = ScriptedRun::new(Source::Imds, vec![answer_with(400, &headers)]);
        assert_eq!(run.sent(), 1);
        run.result.unwrap_err().to_string()
    };
    for server in [None, Some("nginx"), Some("squid/6.1")] {
        let message = message_from(server);
        assert!(message.contains("the answer did not come from the metadata service"), "{message}");
        assert!(!message.contains("assigned") && !message.contains("identity"), "{message}");
    }
    let message = message_from(Some("IMDS/150.870.65.1854"));
    assert!(message.contains("check that the managed identity is assigned to this machine"), "{message}");
}

/// The limit is 1 MiB.
#[tokio::test]
async fn oversized_response_is_refused() {
    let test_env = SourceTestEnv::new().await;
    for source in [Source::AppService, Source::CloudShell, Source::ServiceFabric] {
        test_env.emulator.inject(Fault::oversized_body(step(source)));
        let error = test_env.on(source).token(RESOURCE).await.unwrap_err();
        assert_eq!(error.code(), "response_too_large", "{source}");
    }
}
