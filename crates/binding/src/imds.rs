//! Client of the instance metadata service (IMDS).

mod client;
mod compute;
mod endpoint;
mod error;
mod probe;

pub use symbolon_types::IMDS_BASE_URL;

pub use self::client::{ImdsClient, ImdsRequest};
pub use self::endpoint::ImdsEndpoint;
pub(crate) use self::error::{invalid_response, is_from_imds};
pub use self::probe::{ProbeResult, ProbeStatus};
