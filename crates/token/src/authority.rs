//! Authorities and the way from an authority to its token endpoint.
//!
//! An [`Authority`] is a URL such as `https://login.microsoftonline.com/contoso.com`. A [`Router`]
//! finds its [`TokenEndpoint`](crate::TokenEndpoint) in three steps, and caches the results:
//!
//! 1. **Discovery** ([`Discovery`]) validates the host. Hosts of known clouds need no request. The
//!    endpoint of an OpenID provider is read from the provider's metadata.
//! 2. **Region** ([`RegionDetector`]): the region of this machine, if a region serves the request
//!    ([`EndpointQuery`]).
//! 3. **Routing** ([`Authority::token_endpoint`]): the host for this region, and for requests with
//!    or without a client certificate. A certificate for an unknown host is refused. This step is
//!    pure.

mod authority_url;
mod cloud;
mod discovery;
mod endpoint_query;
mod expected_issuer;
mod instance;
mod layout;
mod memory;
mod openid;
mod region;
mod region_detector;
mod region_outcome;
mod router;
mod routing;
mod sign_in;
mod tenant;

pub use authority_url::{Authority, AuthorityKind};
pub use discovery::Discovery;
pub use endpoint_query::EndpointQuery;
pub(crate) use expected_issuer::ExpectedIssuer;
pub use layout::authority_host;
pub use region::{Region, RegionChoice};
pub use region_detector::RegionDetector;
pub(crate) use region_outcome::RegionOutcome;
pub(crate) use router::LocatedEndpoint;
pub use router::Router;
pub use routing::Routing;
pub use tenant::Tenant;
