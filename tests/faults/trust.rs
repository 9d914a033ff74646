//! What others could make the exporter believe, give away or open.

use std::io::Write;

use crate::support::{Answering, Exporter, ok, value};
use crate::vllm::{Vllm, request};
use crate::{assert_sound, decoded, discards, serve, up};

/// More than all GPUs of the world could do: the jump is discarded, and what comes after it counts.
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
    // The counter falls back, as after a restart.
    vllm.generate(3000);
    exporter.wait_for("/metrics", 20, |page| discards(page, "counter_reset") == 1);
    vllm.generate(3500);
    let after = exporter.wait_for("/metrics", 20, |page| decoded(page) == Some(1500.0));
    assert_sound(&after);
}

/// The capacity that a label states is a fact only where an engine can have it.
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

/// The environment of a pod often names a proxy. It would get the API key, and its page would be taken for vLLM's.
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

/// An answer to `/v1/models` of 16 MiB, and a path in it that is a device: neither costs memory, nor holds anything up.
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
