//! Responses of the metadata service.

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode};
use symbolon_binding::{ManagedIdentityId, Minter};
use symbolon_transport::testing::ScriptedTransport;
use symbolon_transport::{HttpClient, Response, RetryPolicy, SharedTransport};
use symbolon_types::{Context, CorrelationId, Jitter};

use crate::fixture::CorpusKeys;

/// Arbitrary responses do not make the minter panic. The parts of an input are the platform
/// metadata and the issued credential.
pub(crate) fn run(input: &[u8]) -> bool {
    let mut bodies = crate::parts(input);
    let (metadata, credential) = (bodies.next().unwrap_or_default(), bodies.next().unwrap_or_default());
    let transport = ScriptedTransport::new([response(metadata), response(credential)]);
    let context = Context::default().with_jitter(Jitter::fixed(0.5));
    let http = HttpClient::new(SharedTransport::new(transport), context);
    let base = "http://127.0.0.1".parse().expect("a URL");
    let minter = Minter::builder(base, http)
        .metadata_retry_policy(RetryPolicy::once())
        .issuance_retry_policy(RetryPolicy::once())
        .key_provider(CorpusKeys);
    let minter = minter.build().expect("a minter");
    let id = ManagedIdentityId::system_assigned();
    match minter.binding(&id, CorrelationId::random()).now_or_never() {
        Some(Ok(binding)) => {
            assert_eq!(binding.token_endpoint().scheme(), "https");
            true
        }
        _ => false,
    }
}

fn response(body: &[u8]) -> Result<Response, symbolon_transport::TransportError> {
    let server = HeaderMap::from_iter([(http::header::SERVER, HeaderValue::from_static("IMDS/1"))]);
    Ok(Response::new(StatusCode::OK, body.to_vec()).with_headers(server))
}
