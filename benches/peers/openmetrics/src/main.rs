//! Parses one page repeatedly with the crate `openmetrics-parser` and prints MB/s.

use std::hint::black_box;
use std::time::{Duration, Instant};

use openmetrics_parser::prometheus::parse_prometheus;

/// Duration of the measurement.
const WATCHED: Duration = Duration::from_secs(2);

fn main() {
    let page = std::env::args().nth(1).expect("a page");
    let page = std::fs::read_to_string(page).expect("readable");
    let mut took = Vec::new();
    let started = Instant::now();
    while started.elapsed() < WATCHED {
        let began = Instant::now();
        let exposition = parse_prometheus(black_box(&page)).expect("well formed");
        assert!(!black_box(exposition).families.is_empty());
        took.push(began.elapsed());
    }
    took.sort();
    let seconds = took[took.len() / 2].as_secs_f64();
    println!("openmetrics-parser\t{:.3}\tMB/s", page.len() as f64 / seconds / 1e6);
}
