//! A fixed amount of work, for whoever counts its instructions. Time is noisy, and this is not: `benches/run.sh` runs it under
//! valgrind with two numbers of times, and the difference is what the work takes.

use std::hint::black_box;

use crate::reading::{self, PAGE};
use crate::ticker::Ticker;

/// Does `what` so many `times`.
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
