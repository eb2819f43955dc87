//! A proxy and clients of it.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use symbolon::ClientBuilder;
use symbolon_proxy::{Proxy, ProxyBuilder, Route};
use symbolon_tests::RESOURCE;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::data::connections;
use crate::resource_server::ResourceServer;
use crate::test_env::TestEnv;

/// A proxy on a loopback address, and its log.
pub(crate) struct ProxyEnv {
    pub(crate) test_env: TestEnv,
    pub(crate) proxy: Proxy,
    log: Arc<Mutex<Vec<String>>>,
}

impl ProxyEnv {
    /// Starts a proxy for the resource of an emulator.
    pub(crate) async fn new() -> Self {
        let test_env = TestEnv::new().await;
        let url = test_env.emulator.resource_url().to_owned();
        Self::start(test_env, &url, None).await
    }

    /// Starts a proxy for a server.
    pub(crate) async fn of(server: &ResourceServer) -> Self {
        let test_env = TestEnv::new().await;
        Self::start(test_env, server.url(), Some(server)).await
    }

    pub(crate) async fn start(test_env: TestEnv, url: &str, server: Option<&ResourceServer>) -> Self {
        Self::with(route(&test_env, "/", url, server), test_env).await
    }

    pub(crate) async fn with(route: Route, test_env: TestEnv) -> Self {
        let (builder, log) = builder(route);
        let proxy = builder.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        test_env.watch(proxy.secret().unwrap().expose());
        Self { test_env, proxy, log }
    }

    pub(crate) fn address(&self) -> String {
        self.proxy.address().unwrap().to_string()
    }

    pub(crate) fn secret(&self) -> &str {
        self.proxy.secret().unwrap().expose()
    }

    /// The log of the proxy so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Returns the head of a request with the secret and these further fields, each with its line
    /// break.
    pub(crate) fn head(&self, method: &str, target: &str, fields: &str) -> String {
        let (address, secret) = (self.address(), self.secret());
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nX-Symbolon-Secret: {secret}\r\n{fields}\r\n"
        )
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address().unwrap()).await.unwrap()
    }

    /// Sends a request that ends the connection, and reads the response.
    pub(crate) async fn send(&self, method: &str, target: &str, fields: &str) -> TextResponse {
        let head = self.head(method, target, &format!("Connection: close\r\n{fields}"));
        exchange(self.connect().await, &head).await
    }
}

/// Returns a builder and the log of its proxy.
pub(crate) fn builder(route: Route) -> (ProxyBuilder, Arc<Mutex<Vec<String>>>) {
    let log = Arc::<Mutex<Vec<String>>>::default();
    let lines = Arc::clone(&log);
    let observer = move |record: &symbolon_proxy::ProxyRecord| lines.lock().unwrap().push(record.to_string());
    (Proxy::builder().route(route).observer(observer), log)
}

/// Returns a route with bound tokens to the emulator, or to a server if there is one.
pub(crate) fn route(test_env: &TestEnv, path: &str, url: &str, server: Option<&ResourceServer>) -> Route {
    let client = |http2: bool| {
        let connections = connections(test_env, server).http2(http2).build().unwrap();
        bound(test_env.identity().client(RESOURCE).connections(connections))
    };
    Route::new(path, url, client(true)).unwrap().upgrade_client(client(false))
}

fn bound(client: ClientBuilder) -> symbolon::Client {
    client.proof_of_possession().no_read_timeout().build().unwrap()
}

/// A response as text.
#[derive(Debug)]
pub(crate) struct TextResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl TextResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (given, value) = line.split_once(": ")?;
            given.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error of the proxy, which header and body must agree on.
    pub(crate) fn code(&self) -> Option<String> {
        let code = self.header("x-symbolon-error")?.to_owned();
        assert_eq!(self.json()["error"]["code"], code.as_str(), "{self:?}");
        Some(code)
    }
}

/// Sends a request, and reads until the connection ends.
pub(crate) async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> TextResponse {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    TextResponse { status, head: head.to_owned(), body: body.to_owned() }
}

/// Reads until a text has arrived, and returns everything before its end.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let read = stream.read(&mut byte).await.unwrap();
        assert_eq!(read, 1, "the connection ended: {:?}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}
