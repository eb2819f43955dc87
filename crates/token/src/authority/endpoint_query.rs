//! What a token endpoint is asked for.

/// For which requests the token endpoint is wanted.
///
/// ```
/// # use symbolon_token::authority::EndpointQuery;
/// let of_the_client = EndpointQuery::default();
/// let on_behalf_of = EndpointQuery { for_user: true, ..EndpointQuery::default() };
/// # assert_ne!(of_the_client, on_behalf_of);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "put together by its callers, member by member")]
pub struct EndpointQuery<'a> {
    /// The tenant that replaces the authority's own.
    pub tenant: Option<&'a str>,
    /// The requests present a client certificate in the TLS handshake.
    pub mtls: bool,
    /// They are about a user, and not for the client itself.
    pub for_user: bool,
}

impl EndpointQuery<'_> {
    /// Whether a region has a say. Without a certificate, only the client's own tokens are issued
    /// in regions. (MSAL.NET `RegionAndMtlsDiscoveryProvider`.)
    pub(super) fn considers_region(&self) -> bool {
        self.mtls || !self.for_user
    }
}
