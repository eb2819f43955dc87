//! Token caches of MSAL libraries.

use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use symbolon_token::authority::Authority;
use symbolon_token::{Application, TokenCache};
use symbolon_types::{Context, ManualClock, SharedClock};

/// The time of the import, in Unix seconds. Tokens of the corpus are valid then.
const NOW: u64 = 1_800_000_000;

/// Arbitrary files do not panic, and each item that is read is counted.
pub(crate) fn run(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let authority = Authority::parse("https://login.microsoftonline.com/contoso").expect("an authority");
    let application = Application::new(authority, "client").expect("an application");
    let clock = ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW));
    let cache = TokenCache::new(16, &Context::default().with_clock(SharedClock::from(&clock)));
    let import = symbolon_msal::import(&cache, &application, text).now_or_never();
    let Ok(imported) = import.expect("an import without a store") else { return false };
    // A token for a resource is stored under two spellings of its audience.
    assert!(cache.len() <= 2 * imported.access_tokens);
    imported.access_tokens > 0 && imported.refresh_tokens > 0
}
