//! The clock is set while the exporter runs: one tick is discarded, and counted. `tests/pipeline/meter_properties.rs` tests the meter at
//! any time of the change.

#![allow(
    clippy::disallowed_methods,
    reason = "the exporter's clock is compared with the system's"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Exporter, value};
use crate::vllm::Vllm;
use crate::{assert_sound, decode_rate, decoded, discards};
use std::io::Write;

/// Sum of the seconds by bound.
fn bound_seconds(page: &str) -> f64 {
    let lines = page
        .lines()
        .filter(|line| line.starts_with("vllm_roofline_bound_seconds_total{"));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

#[test]
fn a_clock_that_is_set_costs_one_tick() {
    let directory = tempfile::tempdir().unwrap();
    let offset = directory.path().join("offset");
    let set = |seconds: i32| {
        let next = directory.path().join("next");
        std::fs::write(&next, seconds.to_string()).unwrap();
        std::fs::rename(next, &offset).unwrap();
    };
    set(0);
    let vllm = Vllm::start();
    let tokens = AtomicU64::new(1000);
    vllm.behave(move |_, mut stream| {
        crate::vllm::request(&mut stream);
        let generated = tokens.fetch_add(10, Ordering::Relaxed);
        let page = crate::vllm::engine("m", "0", generated);
        let _ = stream.write_all(&crate::support::ok(&page));
    });
    let environment = [
        ("LD_PRELOAD", crate::library("set_clock", directory.path())),
        ("CLOCK_OFFSET", offset.to_str().unwrap().to_owned()),
    ];
    let arguments = ["serve", "--vllm-url", &vllm.url, "--gpu-source", "none"];
    let exporter = Exporter::start_in(&environment, &arguments);
    let mut before = exporter.wait_for("/metrics", 20, |page| decode_rate(page).is_some());

    // An hour back, and forward by less than the longest interval, which could be an outage.
    for (steps, seconds) in [(1, -3600), (2, -3350), (3, 0)] {
        set(seconds);
        let after = exporter.wait_for("/metrics", 20, |page| {
            discards(page, "clock_set") == steps && decode_rate(page).is_some()
        });
        assert_sound(&after);
        assert!(decoded(&after) > decoded(&before), "{after}");
        assert!(
            bound_seconds(&after) < 100.0,
            "no second of the step is counted: {after}"
        );
        let read = value(
            &after,
            "vllm_roofline_source_last_success_timestamp_seconds",
            "vllm",
        );
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let late = now + f64::from(seconds) - read.unwrap();
        assert!(late.abs() < 60.0, "time is the clock's: {late} s");
        before = after;
    }
    assert_eq!(discards(&before, "counter_reset"), 0);
    assert_eq!(exporter.log().matches("the clock was set").count(), 3);
}
