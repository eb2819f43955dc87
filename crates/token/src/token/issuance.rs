//! The issue of a token by a token endpoint.

use symbolon_types::{RegionUse, RequestMetadata};

use crate::oauth::{ResponseParameters, TokenEndpoint};

/// The token endpoint that issued a token, with its region. Tokens of one endpoint share it, if
/// their responses have no further parameters.
#[derive(Clone, Debug)]
pub(crate) struct Issuance {
    pub(crate) endpoint: TokenEndpoint,
    pub(crate) region: RegionUse,
    pub(crate) parameters: Option<ResponseParameters>,
}

impl Issuance {
    /// Sets the endpoint and the region of a request.
    pub(crate) fn describe(&self, metadata: &mut RequestMetadata) {
        metadata.token_endpoint = Some(self.endpoint.url().as_str().into());
        metadata.region = self.region.clone();
    }
}
