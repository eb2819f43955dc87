//! The cost of a cached token, compared with other libraries.
//!
//! Each holds tokens of 1,500 bytes that are valid for a day, and returns one of them. The ratios
//! are printed at the end.

mod peers;

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::Criterion;
use symbolon_types::Env;

use crate::peers::{AzureIdentity, Moka, Peer, Symbolon};

/// The measured cases.
const ROWS: [&str; 3] = ["hit, 1 scope", "hit, 1,000 scopes", "hit, 1,000 scopes, two threads"];

/// The results of one library.
struct Measured {
    name: &'static str,
    /// Nanoseconds; `None` for a case that the command line filters out.
    times: [Option<f64>; 3],
    allocations: u64,
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let measured = [
        measure::<Symbolon>(&mut criterion),
        measure::<AzureIdentity>(&mut criterion),
        measure::<Moka>(&mut criterion),
    ];
    criterion.final_summary();
    println!("\n| | {} |\n|---|---|---|---|", measured.each_ref().map(|peer| peer.name).join(" | "));
    for (number, row) in ROWS.iter().enumerate() {
        let [Some(ours), Some(azure), Some(moka)] = measured.each_ref().map(|peer| peer.times[number]) else {
            continue;
        };
        let cells = [ours, azure, moka].map(|time| format!("{time:.0} ns, {:.1} ×", time / ours));
        println!("| {row} | {} |", cells.join(" | "));
    }
    println!("| allocations per hit | {} |", measured.map(|peer| peer.allocations.to_string()).join(" | "));
}

/// Measures the times of a library, and counts the allocations of one hit.
fn measure<P: Peer>(criterion: &mut Criterion) -> Measured {
    let mut times = [None; 3];
    for (number, count) in [1_usize, 1_000].into_iter().enumerate() {
        let peer = P::holding(count);
        let (mut next, mut has_run) = (0, false);
        criterion.benchmark_group(ROWS[number]).bench_function(P::NAME, |bencher| {
            has_run = true;
            bencher.iter(|| {
                next = (next + 7_919) % count;
                black_box(peer.hit(black_box(next)))
            });
        });
        times[number] = has_run.then(|| median(ROWS[number], P::NAME));
    }
    let peer = P::holding(1_000);
    let mut has_run = false;
    criterion.benchmark_group(ROWS[2]).bench_function(P::NAME, |bencher| {
        has_run = true;
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
    times[2] = has_run.then(|| median(ROWS[2], P::NAME));
    let allocations = allocation_counter::measure(|| drop(black_box(peer.hit(black_box(7))))).count_total;
    Measured { name: P::NAME, times, allocations }
}

/// Reads the result that Criterion has just written.
fn median(row: &str, peer: &str) -> f64 {
    let target = Env::process().var("CARGO_TARGET_DIR").unwrap_or_else(|| "target".to_owned());
    let file = PathBuf::from(target).join("criterion").join(row).join(peer).join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    estimates["median"]["point_estimate"].as_f64().unwrap()
}
