//! What an untrusted server could make the exporter believe, reveal or open.

use std::io::Write;

use crate::support::{Answering, Exporter, ok, value};
use crate::vllm::{Vllm, request};
use crate::{assert_sound, decoded, discards, failures, serve, serve_every, up};

/// More than all GPUs of the world could do: the jump is discarded, and later values count.
#[test]
fn what_no_gpu_can_do_is_discarded_and_heals() {
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    exporter.wait_for("/metrics", 20, |page| up(page) == Some(1.0));
    vllm.generate(2000);
    exporter.wait_for("/metrics", 20, |page| decoded(page) == Some(1000.0));
    vllm.generate(10_000_000_000_000_000_000);
    let during = exporter.wait_for("/metrics", 20, |page| discards(page, "implausible") == 1);
    assert_eq!(decoded(&during), Some(1000.0));
    // The counter drops, as after a restart.
    vllm.generate(3000);
    exporter.wait_for("/metrics", 20, |page| discards(page, "counter_reset") == 1);
    vllm.generate(3500);
    let after = exporter.wait_for("/metrics", 20, |page| decoded(page) == Some(1500.0));
    assert_sound(&after);
}

/// A label's capacity counts only if it is plausible for an engine.
#[test]
fn a_capacity_that_cannot_be_is_none() {
    let vllm = Vllm::start();
    let labels = "engine=\"0\",model_name=\"m\"";
    let page = |capacity: &str| {
        let config =
            format!("vllm:cache_config_info{{{labels},kv_cache_size_tokens=\"{capacity}\"}} 1.0\n");
        ok(&format!(
            "{}vllm:kv_cache_usage_perc{{{labels}}} 0.5\n{config}",
            vllm.page()
        ))
    };
    vllm.answer(page("1e200"));
    let exporter = serve(&vllm.url);
    let hostile = exporter.wait_for("/metrics", 20, |page| up(page) == Some(1.0));
    let capacity = |page: &str| value(page, "vllm_roofline_kv_capacity_tokens", "");
    assert_eq!(capacity(&hostile), None);
    assert_sound(&hostile);
    vllm.answer(page("5000"));
    exporter.wait_for("/metrics", 20, |page| capacity(page) == Some(5000.0));
}

/// The environment of a pod often names a proxy. It would receive the API key, and its page would be taken for vLLM's.
#[test]
fn no_proxy_is_asked() {
    let proxy = Vllm::start();
    let vllm = Answering::with(ok(&Vllm::start().page()));
    let environment = [
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTPS_PROXY",
    ];
    let environment = environment.map(|name| (name, proxy.url.clone()));
    let arguments = ["serve", "--vllm-url", &vllm.url, "--gpu-source", "none"];
    let exporter = Exporter::start_in(&environment, &arguments);
    exporter.wait_for("/metrics", 20, |page| up(page) == Some(1.0));
    assert_eq!(proxy.requests(), 0);
}

/// Each tick looks up the address, and no lookup returns: one thread waits, not one more per tick, and none delays the exit.
#[test]
fn a_name_server_that_never_answers_holds_one_thread() {
    let directory = tempfile::tempdir().unwrap();
    let environment = [(
        "LD_PRELOAD",
        crate::library("hang_lookup", directory.path()),
    )];
    let arguments = ["--vllm-url", "http://name.example:8000"];
    let arguments = [
        &["serve", "--gpu-source", "none", "--tick", "200ms"],
        &arguments[..],
    ]
    .concat();
    let exporter = Exporter::start_in(&environment, &arguments);
    exporter.wait_for("/metrics", 20, |page| up(page).is_some());
    let after = |count| {
        exporter.wait_for("/metrics", 20, |page| failures(page, "timeout") >= count);
        exporter.threads()
    };
    let (first, later) = (after(1.0), after(12.0));
    assert!(later <= first, "{first} threads, later {later}");
    assert_eq!(exporter.terminate(), Some(0));
}

/// Answers that are cheap to send and expensive to read, each endless.
const DEAR: [(&str, &[u8], &[u8]); 4] = [
    ("interim answers", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    (
        "chunks of a byte",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\n\n\r\n",
    ),
    (
        "packed blocks of nothing",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03",
        // Four empty blocks in the fixed code, ten bits each.
        &[0x02, 0x08, 0x20, 0x80, 0x00],
    ),
    (
        "stored blocks of nothing",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03",
        &[0, 0, 0, 0xff, 0xff],
    ),
];

/// Whatever an answer contains, a server with expensive answers is read less often.
#[test]
fn dear_answers_are_asked_for_less_often() {
    for (name, head, piece) in DEAR {
        let vllm = Vllm::start();
        let pieces = piece.repeat(10_000);
        vllm.behave(move |_, mut stream| {
            request(&mut stream);
            let _ = stream.write_all(head);
            while stream.write_all(&pieces).is_ok() {}
        });
        let exporter = serve_every("200ms", &vllm.url);
        exporter.wait_for("/metrics", 20, |page| up(page).is_some());
        exporter.wait_for("/metrics", 60, |page| failures(page, "costly") >= 2.0);
        assert_eq!(exporter.get("/-/healthy").0, 200, "{name}");
        vllm.generate(5);
        let after = exporter.wait_for("/metrics", 60, |page| up(page) == Some(1.0));
        assert_sound(&after);
    }
}

/// A vLLM that seems to restart with every page does not fill the log.
#[test]
fn a_page_that_differs_each_time_logs_no_line_a_tick() {
    let vllm = Vllm::start();
    let pages = std::sync::atomic::AtomicU64::new(1);
    vllm.behave(move |_, mut stream| {
        request(&mut stream);
        let life = pages.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let page = format!(
            "process_start_time_seconds {life}.0\n{}",
            crate::vllm::engine("m", "0", 7)
        );
        let _ = stream.write_all(&ok(&page));
    });
    let exporter = serve_every("200ms", &vllm.url);
    exporter.wait_for("/metrics", 20, |page| up(page).is_some());
    exporter.wait_for("/metrics", 60, |page| discards(page, "counter_reset") >= 30);
    let logged = exporter.log().matches("vLLM restarted").count();
    assert!((1..=20).contains(&logged), "logged {logged} times");
}

/// An answer to `/v1/models` of 16 MiB, and a path in it that is a device: neither costs memory, nor delays anything.
#[test]
fn hostile_models_cost_little_and_hold_nothing_up() {
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    exporter.wait_for("/metrics", 20, |page| up(page) == Some(1.0));
    let (before, _) = exporter.memory();
    let zeros = format!("{{\"data\": [{}0]}}", "0,".repeat(8 << 20));
    let device = r#"{"data": [{"id": "m", "root": "/dev/zero"}]}"#.to_owned();
    for models in [zeros, device] {
        let hostile = Vllm::start();
        hostile.behave(move |vllm, mut stream| {
            let page = if request(&mut stream).contains("/v1/models") {
                ok(&models)
            } else {
                ok(&vllm.page())
            };
            let _ = stream.write_all(&page);
        });
        let exporter = serve(&hostile.url);
        exporter.wait_for("/metrics", 20, |page| up(page) == Some(1.0));
        exporter.wait_for_log("fact=model");
        let (_, most) = exporter.memory();
        assert!(
            most < before + (24 << 10),
            "{before} KiB before, {most} KiB at most"
        );
        assert_eq!(exporter.get("/-/healthy").0, 200);
        assert_eq!(exporter.terminate(), Some(0));
    }
}
