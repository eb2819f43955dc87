//! The data that the servers share.

pub(crate) mod arc_challenges;
pub(crate) mod connections;
pub(crate) mod emulator_state;
pub(crate) mod machine;
pub(crate) mod refresh_tokens;
pub(crate) mod skewed_clock;
pub(crate) mod user;
