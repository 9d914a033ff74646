//! Ticks that take too long or start too late.

#![allow(
    clippy::disallowed_methods,
    reason = "a server that is slow waits by the clock"
)]

use std::io::Write;
use std::time::Duration;

use crate::support::{ok, value};
use crate::vllm::{Vllm, request};
use crate::{assert_sound, decoded, discards, serve, up};

/// Asserts that nothing was discarded.
#[track_caller]
fn assert_no_discards(page: &str) {
    for reason in [
        "counter_reset",
        "too_short",
        "too_long",
        "engines_changed",
        "clock_set",
        "implausible",
    ] {
        assert_eq!(discards(page, reason), 0, "{reason}");
    }
}

/// The first tick makes three requests, which take longer than a tick.
#[test]
fn a_slow_vllm_delays_ticks_and_loses_nothing() {
    let vllm = Vllm::start();
    let slowly = |vllm: &Vllm, mut stream: std::net::TcpStream| {
        request(&mut stream);
        let page = ok(&vllm.page());
        std::thread::sleep(Duration::from_millis(250));
        let _ = stream.write_all(&page);
    };
    vllm.behave(slowly);
    let exporter = serve(&vllm.url);
    exporter.wait_for("/metrics", 20, |page| up(page) == Some(1.0));
    vllm.generate(1500);
    vllm.behave(slowly);
    let page = exporter.wait_for("/metrics", 20, |page| decoded(page) == Some(500.0));
    let took = value(
        &page,
        "vllm_roofline_source_read_seconds",
        "source=\"vllm\"",
    );
    assert!(took >= Some(0.25), "{took:?}");
    assert_no_discards(&page);
}

/// As on an overloaded machine: missed ticks are not made up for in a burst.
#[test]
fn a_stopped_exporter_goes_on_where_it_was() {
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    exporter.wait_for("/metrics", 20, |page| up(page) == Some(1.0));
    exporter.signal("STOP");
    std::thread::sleep(Duration::from_secs(3));
    vllm.generate(3000);
    exporter.signal("CONT");
    let page = exporter.wait_for("/metrics", 20, |page| decoded(page) == Some(2000.0));
    assert_no_discards(&page);
    assert_sound(&page);
}
