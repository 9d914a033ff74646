//! The life cycle of a native sidecar: it starts before vLLM, vLLM starts late or never, vLLM ends first, the exporter last.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::reserved_port::ReservedPort;
use crate::support::{Answering, Exporter, ok, value};

fn vllm_page() -> Vec<u8> {
    let labels = "{engine=\"0\",model_name=\"m\"}";
    ok(&format!(
        "process_start_time_seconds 1.0\nvllm:num_requests_running{labels} 0.0\nvllm:num_requests_waiting{labels} 0.0\nvllm:generation_tokens_total{labels} 1.0\n"
    ))
}

fn start(vllm: &ReservedPort) -> Exporter {
    Exporter::start(&["serve", "--vllm-url", &vllm.url()])
}

/// Asserts that both probes succeed.
#[track_caller]
fn assert_well(exporter: &Exporter) {
    for probe in ["/-/healthy", "/-/ready"] {
        assert_eq!(exporter.get(probe).0, 200, "{probe}");
    }
}

#[track_caller]
fn wait_until_up_is(exporter: &Exporter, up: f64) {
    exporter.wait_for("/metrics", 20, |page| {
        value(page, "vllm_roofline_up", "") == Some(up)
    });
}

#[test]
fn it_waits_for_vllm_and_outlives_it() {
    let reserved = ReservedPort::new();
    let exporter = start(&reserved);
    wait_until_up_is(&exporter, 0.0);
    assert_well(&exporter);

    let vllm = Answering::at(reserved.address().to_string(), vllm_page());
    wait_until_up_is(&exporter, 1.0);
    assert_well(&exporter);

    // Kubernetes stops the other containers first, and the sidecar is still scraped meanwhile.
    drop(vllm);
    wait_until_up_is(&exporter, 0.0);
    assert_well(&exporter);
    assert_eq!(exporter.terminate(), Some(0));
}

#[test]
fn it_ends_well_before_it_has_seen_vllm() {
    let nobody = ReservedPort::new();
    let exporter = start(&nobody);
    wait_until_up_is(&exporter, 0.0);
    assert_eq!(exporter.terminate(), Some(0));
}

#[test]
fn a_scraper_that_holds_its_connection_does_not_hold_the_end() {
    let nobody = ReservedPort::new();
    let exporter = start(&nobody);
    let mut scraper = TcpStream::connect(exporter.address).unwrap();
    write!(scraper, "GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(scraper.read(&mut [0; 1024]).unwrap() > 0);
    assert_eq!(exporter.terminate(), Some(0));
    let rest = scraper.read(&mut [0; 1024]);
    assert_eq!(rest.unwrap(), 0, "the connection is closed");
}
