//! Dashboards and rules, validated against the catalogue, a real Prometheus and a real Alertmanager.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

#[path = "../../grafana/generate/mod.rs"]
mod generate;
#[path = "../support/reserved_port.rs"]
mod reserved_port;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tools.rs"]
mod tools;

mod dashboards;
mod fleet;
mod history;
mod live;
mod prometheus;
mod recordings;
mod routing;
mod rules;
mod runbooks;
mod servers;
mod thanos;
