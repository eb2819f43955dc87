//! The data that the servers share.

mod arc_challenges;
mod connections;
mod declarations;
mod emulator_state;
mod machine;
mod refresh_tokens;
mod skewed_clock;
mod user;

pub(crate) use self::arc_challenges::ArcChallenges;
pub(crate) use self::connections::{Connections, TrackedConnection};
pub(crate) use self::emulator_state::{EmulatorState, ServiceUrls, SharedSet};
pub use self::machine::UserAssigned;
pub(crate) use self::machine::{IdField, Machine, Principal};
pub(crate) use self::refresh_tokens::{RefreshGrant, RefreshTokens};
pub(crate) use self::skewed_clock::SkewedClock;
pub(crate) use self::user::TenantUser;
