//! The properties of requests on which their endpoint depends.

/// The properties of requests on which their token endpoint depends.
///
/// ```
/// # use symbolon_token::authority::EndpointQuery;
/// let for_client = EndpointQuery::default();
/// let for_user = EndpointQuery { for_user: true, ..EndpointQuery::default() };
/// # assert_ne!(for_client, for_user);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "callers set the fields")]
pub struct EndpointQuery<'a> {
    /// The tenant that replaces the authority's own.
    pub tenant: Option<&'a str>,
    /// The requests present a client certificate in the TLS handshake.
    pub mtls: bool,
    /// The requests are about a user, and not for the client itself.
    pub for_user: bool,
}

impl EndpointQuery<'_> {
    /// Returns whether a region can serve the requests: with a certificate, or for the client
    /// itself (`docs/protocol/routing.md#regions`).
    pub(super) fn considers_region(&self) -> bool {
        self.mtls || !self.for_user
    }
}
