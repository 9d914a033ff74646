//! `static` and `gpus`, from flags to output.

#![expect(clippy::expect_used, reason = "a test may panic")]

mod gpus;
mod loads;
mod refusals;
mod steps;
mod support;
mod variants;
