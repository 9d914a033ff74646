//! Load tests and captures compared with the roofline, and their report.

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
