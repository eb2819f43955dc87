//! The admin server, on a port of its own and with a secret in its path.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, HOST, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::admin::endpoint::AdminEndpoint;
use crate::admin::response::{AdminResponse, error};
use crate::admin::{api, page};
use crate::protocol::ResponseBody;
use crate::state::EmulatorState;

/// The largest request body that is read.
const REQUEST_LIMIT: usize = 64 << 10;

/// Serves until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, endpoint: Arc<AdminEndpoint>, state: Arc<EmulatorState>) {
    loop {
        // A failed accept affects one connection, which is lost.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (endpoint, state) = (Arc::clone(&endpoint), Arc::clone(&state));
        let service = service_fn(move |request| {
            let response = respond(request, Arc::clone(&endpoint), Arc::clone(&state));
            async move { Ok::<_, Infallible>(with_security_headers(response.await)) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // Errors of a single connection are the client's.
            let _ended = connection.await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    endpoint: Arc<AdminEndpoint>,
    state: Arc<EmulatorState>,
) -> AdminResponse {
    let (head, body) = request.into_parts();
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| endpoint.is_host(host)) {
        let message = "The Host header names another server: use the printed address.";
        return error(StatusCode::MISDIRECTED_REQUEST, "host", message);
    }
    // Relative URLs in the page need the trailing slash.
    let path = head.uri.path();
    if endpoint.strip_secret(&format!("{path}/")) == Some("") {
        let mut response = Response::new(ResponseBody::Whole(None));
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        if let Ok(location) = HeaderValue::try_from(format!("{path}/")) {
            response.headers_mut().insert(LOCATION, location);
        }
        return response;
    }
    let Some(rest) = endpoint.strip_secret(path) else {
        let message = "The path does not begin with the secret: use the printed address.";
        return error(StatusCode::NOT_FOUND, "secret", message);
    };
    let Ok(body) = Limited::new(body, REQUEST_LIMIT).collect().await else {
        let message = "The body is larger than 64 KiB.";
        return error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
    };
    if rest.is_empty() && head.method == Method::GET {
        return page::response();
    }
    api::respond(&head, rest, &body.to_bytes(), &state).await
}

/// Forbids caching, content sniffing, and passing on the URL with its secret.
fn with_security_headers(mut response: AdminResponse) -> AdminResponse {
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
