//! The options of one request.

use symbolon_types::CorrelationId;

/// The options that the request for a managed identity's token and that of a chain share.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenOptions<'a> {
    pub(crate) claims: Option<&'a str>,
    pub(crate) client_claims: Option<&'a str>,
    pub(crate) force_refresh: bool,
    pub(crate) correlation_id: Option<CorrelationId>,
}
