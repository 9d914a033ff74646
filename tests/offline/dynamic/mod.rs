//! Load tests and captures against the roofline, and the page made of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    reason = "a test may fail that way"
)]

mod baseline;
mod capture;
mod page;
mod refusals;
mod results;
mod support;
