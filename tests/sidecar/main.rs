//! The program as a sidecar: its pages, its sources and its reloads.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may fail that way"
)]

mod demo;
mod local;
mod reload;
#[path = "../support/reserved_port.rs"]
mod reserved_port;
mod servers;
mod sidecar;
#[cfg(feature = "tls")]
mod sources;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "top")]
mod terminal;
#[path = "../support/tools.rs"]
mod tools;
#[cfg(feature = "tls")]
mod web_config;
