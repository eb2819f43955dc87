//! Client of the instance metadata service (IMDS).

mod client;
mod compute;
mod endpoint;
mod error;
mod error_body;
mod presence;
mod probe;

pub use symbolon_types::IMDS_BASE_URL;

pub use self::client::{ImdsClient, ImdsRequest};
pub use self::endpoint::ImdsEndpoint;
pub(crate) use self::error::{invalid_response, is_from_imds};
pub use self::error_body::{IdentityMissing, SourceErrorBody};
pub use self::presence::ImdsPresence;
pub use self::probe::{ProbeResult, ProbeStatus};
