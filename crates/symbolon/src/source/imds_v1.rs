//! Version 1 of the instance metadata service: a bearer token in one request.
//! (docs/protocol/sources.md#instance-metadata-v1)

use symbolon_binding::imds::{ImdsClient, ImdsEndpoint, ImdsRequest};
use symbolon_token::{Error, IssuedToken};
use symbolon_transport::RetryPolicy;
use symbolon_types::{Secrets, Source};

use super::request::SourceRequest;
use super::response;

/// Requests a token. Retries and the checks on the response are those of [`ImdsClient`], which both
/// versions of the service share.
pub(super) async fn token(
    request: &SourceRequest<'_>,
    imds: &ImdsClient,
    policy: &RetryPolicy,
) -> Result<(IssuedToken, usize), Error> {
    let imds_request = ImdsRequest {
        endpoint: ImdsEndpoint::BearerToken,
        id: request.id,
        resource: Some(request.resource),
        bypass_cache: false,
        body: None,
        secrets: Secrets::none(),
        policy,
        correlation_id: request.correlation_id,
    };
    let sent = imds.send(&imds_request).await?;
    let fetched = response::read(Source::Imds, &sent.response, imds.clock().read(), request.correlation_id)?;
    Ok((fetched, sent.attempts))
}
