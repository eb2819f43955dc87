//! Who issues tokens, and where its token endpoint is.
//!
//! An [`Authority`] is the URL that people know: `https://login.microsoftonline.com/contoso.com`.
//! From it to the [`TokenEndpoint`](crate::TokenEndpoint) there are up to three steps, in this order:
//!
//! 1. **Discovery**: is the host what it claims to be ([`Discovery`])? The hosts of the known clouds
//!    need no request; the endpoint of an OpenID provider stands in its metadata.
//! 2. **Region**: which of the cloud's regions is this machine in ([`RegionDetector`])? Not asked where
//!    no region serves the request ([`EndpointQuery`]).
//! 3. **Routing**: the host for this transport and region ([`Authority::token_endpoint`]). This step
//!    is pure, and the place where a certificate for an unknown host is refused.
//!
//! A [`Router`] does all three and remembers the outcome.

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
pub use region::{Region, RegionChoice};
pub use region_detector::{RegionDetector, detect_region};
pub(crate) use region_outcome::RegionOutcome;
pub(crate) use router::LocatedEndpoint;
pub use router::Router;
pub use routing::Routing;
pub use tenant::Tenant;
