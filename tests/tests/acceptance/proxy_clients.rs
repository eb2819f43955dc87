//! PROXY: unmodified clients in several languages.

use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use symbolon_emulator::Step;
use symbolon_test_programs::{find_program, missing};
use tonic::metadata::MetadataValue;

use crate::data_tonic::codec::BytesCodec;
use crate::proxy_env::ProxyEnv;
use crate::resource_server::{HTTP2, Reaction, ResourceServer};

/// Python's own client by a header, and `requests`, if it is installed, by a URL with a password.
const PYTHON: &str = r#"
import sys, urllib.request
url, secret = sys.argv[1:]
request = urllib.request.Request("http://" + url, headers={"X-Symbolon-Secret": secret})
print(urllib.request.urlopen(request).read().decode())
try:
    import requests
except ImportError:
    sys.exit()
session = requests.Session()
for body in [b"x", iter([b"part", b"part"])]:
    response = session.post(f"http://symbolon:{secret}@{url}", data=body)
    response.raise_for_status()
    print(response.text)
"#;

const NODE: &str = r#"
const [url, secret] = process.argv.slice(1);
const headers = { "X-Symbolon-Secret": secret };
(async () => {
    for (const options of [{}, { method: "POST", body: new Blob(["a", "b"]).stream(), duplex: "half" }]) {
        const response = await fetch("http://" + url, { headers, ...options });
        if (!response.ok) throw new Error(response.status);
        console.log(await response.text());
    }
})();
"#;

// The last one sends as the HTTP client of .NET does: chunks, after 100 Continue.
#[tokio::test(flavor = "multi_thread")]
async fn proxy_01_unmodified_clients() {
    let env = ProxyEnv::new().await;
    let url = format!("{}/", env.address());
    let secret = env.secret().to_owned();
    let with_password = format!("http://symbolon:{secret}@{url}");
    let bearer = format!("Authorization: Bearer {secret}");
    let plain = format!("http://{url}");
    let curl = |arguments: &[&str]| ("curl", [&["-sSf", "-w", "\n"], arguments].concat().join("\u{1f}"));
    let join = |arguments: &[&str]| arguments.join("\u{1f}");
    for (program, arguments) in [
        curl(&[&with_password]),
        curl(&[&plain, "-H", &bearer]),
        curl(&[&plain, "-H", &bearer, "--http2-prior-knowledge"]),
        curl(&[&plain, "-H", &bearer, "--http2"]),
        ("python3", join(&["-c", PYTHON, &url, &secret])),
        ("node", join(&["-e", NODE, "--", &url, &secret])),
        curl(&[
            &plain,
            "-H",
            &bearer,
            "-H",
            "Expect: 100-continue",
            "-H",
            "Transfer-Encoding: chunked",
            "-d",
            "x",
        ]),
    ] {
        let Some(path) = find_program(program) else {
            missing(program);
            continue;
        };
        let before = env.test_env.count(Step::Resource);
        let mut command = Command::new(path);
        command.args(arguments.split('\u{1f}')).env_remove("http_proxy");
        let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let (printed, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{program}: {printed}{errors}");
        let seen: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert!(!seen.is_empty(), "{program}: {printed}{errors}");
        let thumbprint = env.test_env.last_certificate().to_string();
        for seen in &seen {
            assert_eq!(
                (&seen["scheme"], &seen["x5t#S256"]),
                (&"mtls_pop".into(), &thumbprint.as_str().into())
            );
        }
        assert_eq!(env.test_env.count(Step::Resource), before + seen.len());
        assert!(!format!("{printed}{errors}").contains("eyJ"), "{program} sees no token");
    }
    assert_eq!(env.test_env.counts().tokens, 1);
    assert_eq!(env.log(), Vec::<String>::new());
}

/// A connection of a gRPC client without TLS.
#[derive(Clone)]
struct PlainHttp2(SendRequest<tonic::body::Body>);

impl tower_service::Service<http::Request<tonic::body::Body>> for PlainHttp2 {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

#[tokio::test]
async fn proxy_02_grpc_streams_both_ways() {
    let server = ResourceServer::start(HTTP2).await;
    server.script([Reaction::EchoGrpc]);
    let env = ProxyEnv::of(&server).await;
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(env.connect().await)).await.unwrap();
    tokio::spawn(connection);
    let url = format!("http://{}", env.address()).parse().unwrap();
    let mut grpc = tonic::client::Grpc::with_origin(PlainHttp2(sender), url);
    grpc.ready().await.unwrap();
    let (parts, receiver) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
    let messages = stream::unfold(receiver, |mut receiver| async move {
        Some((Bytes::from(receiver.recv().await?), receiver))
    });
    let mut request = tonic::Request::new(messages);
    request.metadata_mut().insert("x-symbolon-secret", MetadataValue::try_from(env.secret()).unwrap());
    request.metadata_mut().insert("x-trace", MetadataValue::from_static("7"));
    let method = PathAndQuery::from_static("/symbolon.Example/Echo");
    let mut replies = grpc.streaming(request, method.clone(), BytesCodec).await.unwrap().into_inner();
    for part in ["first", "second"] {
        parts.send(part).unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap(), part);
    }
    drop(parts);
    // Without the trailer `grpc-status`, this would be an error.
    assert!(replies.message().await.unwrap().is_none());
    let received = server.received().remove(0);
    assert_eq!(received.certificate, Some(env.test_env.last_certificate()));
    assert_eq!((received.scheme(), received.uri.path()), (Some("mtls_pop"), method.path()));
    assert_eq!(
        (&received.headers["x-trace"], &received.headers["te"]),
        (&"7".parse().unwrap(), &"trailers".parse().unwrap())
    );
    assert!(!received.headers.contains_key("x-symbolon-secret"));

    // A client without the secret gets the status of gRPC that belongs to 401.
    let refused = tonic::Request::new(stream::empty::<Bytes>());
    grpc.ready().await.unwrap();
    let status = grpc.streaming(refused, method, BytesCodec).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(status.message().contains("secret of the proxy"), "{status}");
}
