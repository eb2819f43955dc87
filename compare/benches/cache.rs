//! Hits of the token cache among up to a million tokens, against a bare look-up of the same size,
//! and the memory of a token.

use std::collections::HashMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use symbolon_token::authority::Authority;
use symbolon_token::{
    Application, ClientSecret, Context, Secret, SharedClock, Token, TokenCache, TokenClient,
};
use symbolon_transport::{Response, transport_fn};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "\
Usage: cargo xtask bench cache [-- OPTIONS]

Measures a hit of the token cache and a bare look-up with a clock read. The time of a hit, as a multiple of that of
the look-up, must not grow with the number of tokens, and a token of 1,500 bytes takes at most 1,800 bytes.

  --tokens N    the largest number of tokens (1000000)
  --rounds N    repetitions of each measurement, of which the fastest counts (7)
";
/// The length of a token.
const TOKEN_LENGTH: usize = 1500;
/// The largest size of a token in memory, with its key and its share of the tables.
const SIZE_LIMIT: f64 = 1800.0;
/// The largest growth of the multiple from a thousand tokens to the largest number.
const GROWTH_LIMIT: f64 = 1.1;
/// The number of look-ups that are timed together.
const LOOKUPS: u32 = 200_000;
/// A step through the keys in an order that the processor does not foresee. It is prime.
const STEP: usize = 700_001;

fn main() -> Result<ExitCode, BoxError> {
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(Ok(default), |at| arguments.get(at + 1).map_or("", String::as_str).parse())
    };
    let (tokens, rounds) = (number("--tokens", 1_000_000)?, number("--rounds", 7)?);
    let mut multiples = Vec::new();
    let mut size = 0.0;
    for count in [1_000, 10_000, 100_000, tokens] {
        let scopes: Vec<String> =
            (0..count).map(|number| format!("https://{number}.vault.example/.default")).collect();
        let client = client(count)?;
        let mut result = Ok(());
        let counted = allocation_counter::measure(|| result = fill(&client, &scopes));
        result?;
        let held = client.cache().len();
        size = counted.bytes_current as f64 / held as f64;
        let hit = fastest(rounds, count, |at| {
            black_box(token(&client, black_box(&scopes[at])).is_ok());
        });
        let map: HashMap<String, Arc<str>> =
            scopes.iter().map(|scope| (scope.clone(), "t".repeat(TOKEN_LENGTH).into())).collect();
        let clock = SharedClock::system();
        let bare = fastest(rounds, count, |at| {
            black_box((map.get(black_box(&*scopes[at])).cloned(), clock.steady_now()));
        });
        let multiple = hit.as_secs_f64() / bare.as_secs_f64();
        println!(
            "{count:>8} tokens: hit {hit:?}, bare look-up {bare:?}, {multiple:.2} times; {size:.0} bytes a token, \
             {held} held"
        );
        multiples.push(multiple);
    }
    let growth = multiples.last().copied().unwrap_or_default() / multiples.first().copied().unwrap_or(1.0);
    println!("growth {growth:.2}, limit {GROWTH_LIMIT}; {size:.0} bytes a token, limit {SIZE_LIMIT}");
    Ok(if growth <= GROWTH_LIMIT && size <= SIZE_LIMIT { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the duration of one look-up, the fastest of the rounds.
fn fastest(rounds: usize, count: usize, look_up: impl Fn(usize)) -> Duration {
    let round = |_| {
        let mut at = 0;
        let began = Instant::now();
        for _ in 0..LOOKUPS {
            at = (at + STEP) % count;
            look_up(at);
        }
        began.elapsed() / LOOKUPS
    };
    (0..rounds).map(round).min().unwrap_or_default()
}

fn fill(client: &TokenClient, scopes: &[String]) -> Result<(), BoxError> {
    scopes.iter().try_for_each(|scope| token(client, scope).map(drop))
}

/// Keys are spread over shards by hash, so the capacity has some room: six standard deviations.
fn client(count: usize) -> Result<TokenClient, BoxError> {
    let body = format!(
        r#"{{"token_type":"Bearer","access_token":"{}","expires_in":86400}}"#,
        "t".repeat(TOKEN_LENGTH)
    );
    let transport = transport_fn(move |_| {
        let body = body.clone();
        async move { Ok(Response::new(http::StatusCode::OK, body)) }
    });
    let authority = Authority::parse("https://login.microsoftonline.com/contoso.example")?;
    let application = Application::new(authority, "6731de76-14a6-49ae-97bc-6eba6914391e")?;
    let credential = ClientSecret::new(application, Secret::new("secret"))?;
    let cache = TokenCache::new(count + 20 * count.isqrt(), &Context::default());
    Ok(TokenClient::builder(credential, transport).cache(cache).build())
}

fn token(client: &TokenClient, scope: &str) -> Result<Token, BoxError> {
    let token = client.token(scope).into_future().now_or_never();
    Ok(token.ok_or("the response is not immediate")??)
}
