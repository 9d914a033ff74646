//! A fixed amount of work, to count its instructions, which are not noisy like times: `benches/run.sh` runs it under valgrind with two
//! repeat counts, and the difference is the cost of the work.

use std::hint::black_box;

use crate::reading::{self, PAGE};
use crate::ticker::Ticker;

/// Runs `what` this many `times`.
pub(crate) fn run(what: &str, times: usize) -> anyhow::Result<()> {
    match what {
        "full" => (0..times).for_each(|_| {
            black_box(reading::full(black_box(PAGE)));
        }),
        "needed" => (0..times).for_each(|_| {
            black_box(reading::needed(black_box(PAGE)));
        }),
        "tick" => {
            let mut ticker = Ticker::new(1)?;
            for _ in 0..times {
                black_box(ticker.tick()?);
            }
        }
        other => anyhow::bail!("{other}: full, needed or tick"),
    }
    Ok(())
}
