//! What a cached token costs here, and through what a user would pick instead.
//!
//! In one run, on one machine, each asked the same: a token of 1,500 bytes for one of the scopes that it
//! holds, which lives for a day. The ratios are printed at the end.

mod peers;

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::Criterion;
use symbolon_types::Env;

use crate::peers::{AzureIdentity, Moka, Peer, Symbolon};

/// What is measured of each.
const ROWS: [&str; 3] = ["hit, 1 scope", "hit, 1,000 scopes", "hit, 1,000 scopes, two threads"];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let allocations = [
        measure::<Symbolon>(&mut criterion),
        measure::<AzureIdentity>(&mut criterion),
        measure::<Moka>(&mut criterion),
    ];
    criterion.final_summary();
    let peers = [Symbolon::NAME, AzureIdentity::NAME, Moka::NAME];
    println!("\n| | {} |\n|---|---|---|---|", peers.join(" | "));
    for row in ROWS {
        let Some(times) = peers.iter().map(|peer| median(row, peer)).collect::<Option<Vec<_>>>() else {
            continue;
        };
        let cells: Vec<_> =
            times.iter().map(|time| format!("{time:.0} ns, {:.1} ×", time / times[0])).collect();
        println!("| {row} | {} |", cells.join(" | "));
    }
    println!("| allocations per hit | {} |", allocations.map(|count| count.to_string()).join(" | "));
}

/// Times a peer, and counts the allocations of one hit.
fn measure<P: Peer>(criterion: &mut Criterion) -> u64 {
    for (row, count) in ROWS.into_iter().zip([1_usize, 1_000]) {
        let peer = P::holding(count);
        let mut next = 0;
        criterion.benchmark_group(row).bench_function(P::NAME, |bencher| {
            bencher.iter(|| {
                next = (next + 7_919) % count;
                black_box(peer.hit(black_box(next)))
            });
        });
    }
    let peer = P::holding(1_000);
    criterion.benchmark_group(ROWS[2]).bench_function(P::NAME, |bencher| {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut next = 0;
                while !is_done.load(Ordering::Relaxed) {
                    next = (next + 5_003) % 1_000;
                    black_box(peer.hit(black_box(next)));
                }
            });
            let mut next = 0;
            bencher.iter(|| {
                next = (next + 7_919) % 1_000;
                black_box(peer.hit(black_box(next)))
            });
            is_done.store(true, Ordering::Relaxed);
        });
    });
    allocation_counter::measure(|| drop(black_box(peer.hit(black_box(7))))).count_total
}

/// What Criterion wrote down, in nanoseconds; nothing where a filter left the row out.
fn median(row: &str, peer: &str) -> Option<f64> {
    let target = Env::process().var("CARGO_TARGET_DIR").unwrap_or_else(|| "target".to_owned());
    let file = PathBuf::from(target).join("criterion").join(row).join(peer).join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}
