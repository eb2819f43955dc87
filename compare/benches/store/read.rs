//! A read through the store against a bare GET of the same size.

use std::time::{Duration, Instant};

use symbolon_test_programs::Redis;
use symbolon_token::{CacheStore as _, Precondition};

use crate::BoxError;
use crate::process::store_builder;

const ROUNDS: usize = 5000;
/// The length of an entry: that of a token of 1,500 bytes.
const LENGTH: usize = 2000;
const KEY: &str = "symbolon1:8dpaSZz5G_fZt9eu7nB4tkv7D-Wf42NvYQ6eL-SBVUE";

/// Returns true if a read takes at most 1.3 times as long as a bare one.
pub fn run() -> Result<bool, BoxError> {
    let server = Redis::start(&[]).ok_or("Redis is missing")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = store_builder(&server.url())?.build()?;
        store.put(KEY, &[7; LENGTH], Duration::from_secs(600), Precondition::None).await?;
        let key = format!("symbolon:{{{KEY}}}");
        let client = redis::Client::open(server.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let (mut bare, mut sealed) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let value: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut connection).await?;
            bare.push(began.elapsed());
            let began = Instant::now();
            let entry = store.get(KEY).await?.ok_or("the entry is missing")?;
            sealed.push(began.elapsed());
            assert!(value.len() > LENGTH && entry.bytes() == [7; LENGTH]);
        }
        bare.sort_unstable();
        sealed.sort_unstable();
        let (median, of_bare) = (sealed[ROUNDS / 2], bare[ROUNDS / 2]);
        let ratio = median.as_secs_f64() / of_bare.as_secs_f64();
        println!("read: median {median:?}, bare GET {of_bare:?}, ratio {ratio:.2}, limit 1.3");
        Ok(ratio <= 1.3)
    })
}
