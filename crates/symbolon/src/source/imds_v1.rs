//! The instance metadata service, version 1: a bearer token in one request.
//! (Managed-identity sources §2.6.)

use symbolon_binding::imds::{ImdsClient, ImdsEndpoint, ImdsRequest};
use symbolon_token::{Error, Fetched};
use symbolon_transport::RetryPolicy;

use crate::Source;
use crate::source::{Question, issued};

/// Asks once. Which statuses are worth another try, and whether an answer is the service's at all, is
/// the same for both versions of the service, and lies with the minter.
pub(crate) async fn token(
    question: &Question<'_>,
    imds: &ImdsClient,
    policy: &RetryPolicy,
) -> Result<(Fetched, usize), Error> {
    let asked = ImdsRequest {
        endpoint: ImdsEndpoint::BearerToken,
        id: question.id,
        resource: Some(question.resource),
        bypass_cache: false,
        body: None,
        policy,
        correlation_id: question.correlation_id,
    };
    let sent = imds.send(&asked).await?;
    let now = imds.clock().now();
    let fetched = issued::read(Source::Imds, &sent.response, now, question.correlation_id)?;
    Ok((fetched, sent.attempts))
}
