//! What is logged, and what is not.

use std::io;
use std::sync::{Arc, Mutex};

use http::HeaderValue;
use symbolon_transport::Transport;
use tracing_subscriber::fmt::MakeWriter;

use crate::authority::Authority;
use crate::keys::Algorithm;
use crate::server::{Asks, Fault, Setup, VERSIONS};
use crate::{get, outcome, trusting};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_tells_what_happened_and_no_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let authority = Authority::new();
    let mut setup = Setup::new(VERSIONS[1], Asks::Required);
    setup.body = "s3cr3t-response".to_owned();
    let server = setup.start(&authority);
    let transport = trusting(&authority).build().unwrap();
    let identity = authority.identity(Algorithm::Rsa2048);
    let request = || {
        let url = server.url().replace("/token?a=b", "/s3cr3t-path?code=s3cr3t-query");
        let mut request = get(&url, Some(&identity)).with_body(&b"client_assertion=s3cr3t-body"[..]);
        request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer s3cr3t-header"));
        request
    };
    for _ in 0..2 {
        outcome(&transport, request()).await.unwrap();
    }
    server.set_fault(Fault::HangUpAfter(0));
    let error = transport.send(request()).await.unwrap_err();

    let text = log.text();
    for expected in [
        "connecting",
        "TLS handshake",
        "version=\"1.3\"",
        "is_resumed=false",
        "is_resumed=true",
        "reusing a connection",
        "sending again",
        "kind=IdentityRejected",
    ] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    for shown in [text, format!("{transport:?} {error:?} {error}")] {
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(!shown.contains(&identity.thumbprint().to_string()), "{shown}");
    }
}
