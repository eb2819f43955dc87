//! Address of the instance metadata service.

/// Base URL of the instance metadata service: link-local, and the same on every Azure machine.
pub const IMDS_BASE_URL: &str = "http://169.254.169.254";
