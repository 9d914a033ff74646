//! Work without another process: parsing a page, a tick, a grid of predictions.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::predicting;
use crate::reading::{self, PAGE};
use crate::ticker::Ticker;

/// Duration of each measurement, and minimum duration of a batch.
const WATCHED: Duration = Duration::from_secs(2);
const BATCH: Duration = Duration::from_micros(200);
/// More than any last-level cache.
const CACHE: usize = 96 << 20;

/// Parses a page.
pub(crate) fn parse() {
    for (name, seconds) in [
        ("parse, ours", median(|| reading::full(black_box(PAGE)))),
        (
            "parse, ours needed",
            median(|| reading::needed(black_box(PAGE))),
        ),
    ] {
        println!("{name}\t{:.3}\tMB/s", PAGE.len() as f64 / seconds / 1e6);
    }
}

/// Ticks.
pub(crate) fn ticks() -> anyhow::Result<()> {
    let mut one = Ticker::new(1)?;
    let hot = median(|| one.tick());
    println!("tick, hot\t{:.1}\tµs", hot * 1e6);
    let mut cache = vec![0_u8; CACHE];
    let cold = median_after(
        || {
            cache
                .iter_mut()
                .for_each(|byte| *byte = byte.wrapping_add(1));
        },
        || one.tick(),
    );
    println!("tick, cold\t{:.1}\tµs", cold * 1e6);
    let mut many = Ticker::new(64)?;
    let engines = median(|| many.tick());
    println!("tick, 64 engines\t{:.3}\tms", engines * 1e3);
    Ok(())
}

/// A million predictions.
pub(crate) fn grid() -> anyhow::Result<()> {
    let predictor = predicting::predictor()?;
    let seconds = median(|| predicting::grid(&predictor));
    println!("static, grid\t{:.0}\tms", seconds * 1e3);
    Ok(())
}

/// Seconds that `work` takes, as the median of short batches, most of which other load does not affect. The parsers in `benches/peers` are
/// timed in the same way.
fn median<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut times = 1;
    while batch(&mut work, times) < BATCH {
        times *= 2;
    }
    watched(|| batch(&mut work, times)).as_secs_f64() / f64::from(times)
}

/// The same for single runs, each after `before`.
fn median_after<T>(mut before: impl FnMut(), mut work: impl FnMut() -> T) -> f64 {
    let took = watched(|| {
        before();
        batch(&mut work, 1)
    });
    took.as_secs_f64()
}

/// The median of repeated results of `measure`.
fn watched(mut measure: impl FnMut() -> Duration) -> Duration {
    let started = Instant::now();
    let mut took = Vec::new();
    while started.elapsed() < WATCHED {
        took.push(measure());
    }
    took.sort();
    took[took.len() / 2]
}

fn batch<T>(work: &mut impl FnMut() -> T, times: u32) -> Duration {
    let started = Instant::now();
    for _ in 0..times {
        black_box(work());
    }
    started.elapsed()
}
