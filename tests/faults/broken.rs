//! A vLLM whose connections break, in every possible way.

#![allow(
    clippy::disallowed_methods,
    reason = "a server that is slow waits by the clock"
)]

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::support::value;
use crate::vllm::{Vllm, request};
use crate::{assert_sound, decode_rate, decoded, failures, serve, up};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";

/// Longer than the timeout of a read.
const LONG: Duration = Duration::from_secs(3);

/// Asserts what is exported before, during and after `fault`, which is counted as `reason`.
#[track_caller]
fn survives(fault: impl Fn(TcpStream) + Send + Sync + 'static, reason: &str) {
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    exporter.wait_for("/metrics", 20, |page| up(page) == Some(1.0));
    vllm.generate(2000);
    exporter.wait_for("/metrics", 20, |page| {
        decode_rate(page).is_some_and(|rate| rate > 0.0) && decoded(page) == Some(1000.0)
    });

    vllm.behave(move |_, stream| fault(stream));
    let during = exporter.wait_for("/metrics", 20, |page| {
        failures(page, reason) >= 3.0 && decode_rate(page).is_none()
    });
    assert_eq!(up(&during), Some(0.0), "{reason}");
    let unreachable = value(
        &during,
        "vllm_roofline_engine_state",
        "state=\"unreachable\"",
    );
    assert_eq!(unreachable, Some(1.0), "{reason}");
    assert_eq!(
        decoded(&during),
        None,
        "a counter that stands still says that nothing runs: {reason}"
    );
    assert_sound(&during);
    assert_eq!(exporter.get("/-/ready").0, 200, "{reason}");

    vllm.generate(5000);
    let after = exporter.wait_for("/metrics", 20, |page| {
        up(page) == Some(1.0) && decode_rate(page).is_some()
    });
    assert_eq!(
        decoded(&after),
        Some(4000.0),
        "it goes on where it was, and nothing is lost: {reason}"
    );
    assert_sound(&after);
}

#[test]
fn a_vllm_that_refuses() {
    // The kernel accepts the connection and the server drops it, before or after the request was sent.
    survives(drop, "damaged");
}

#[test]
fn a_vllm_that_hangs_after_its_headers() {
    survives(
        |mut stream| {
            request(&mut stream);
            let _ = stream.write_all(HEAD);
            std::thread::sleep(LONG);
        },
        "timeout",
    );
}

#[test]
fn a_vllm_that_drips_a_byte_a_second() {
    survives(
        |mut stream| {
            request(&mut stream);
            let _ = stream.write_all(HEAD);
            for byte in b"vllm" {
                let _ = stream.write_all(&[*byte]);
                std::thread::sleep(Duration::from_secs(1));
            }
        },
        "timeout",
    );
}

#[test]
fn a_vllm_that_resets_in_the_body() {
    survives(
        |mut stream| {
            // Closing with the request unread resets the connection.
            let _ = stream.write_all(HEAD);
            let _ = stream.write_all(b"vllm:num_requests_running{engine=");
        },
        "damaged",
    );
}
