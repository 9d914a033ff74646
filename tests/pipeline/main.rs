//! From a page to figures: exposition, meter, captures, replay, and the laws of the fuzz targets.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may fail that way"
)]

mod architecture;
mod captures;
mod compatibility;
mod config;
mod contract;
mod cost;
mod engines;
mod events;
mod exposition;
mod first_sentence;
mod fuzz;
mod golden_page;
mod interconnect;
mod live_bound;
mod meter_properties;
mod page;
mod replay;
mod routing;
mod timeline;
#[path = "../support/tools.rs"]
mod tools;
