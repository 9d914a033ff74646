//! Engines that appear and disappear, and idle engines.

use crate::support::{Exporter, ok, value};
use crate::vllm::{Vllm, engine};
use crate::{assert_sound, discards, serve};

fn tokens(page: &str, of: &str) -> Option<f64> {
    let labels = format!("engine=\"{of}\",phase=\"decode\"");
    value(page, "vllm_roofline_forward_tokens_total", &labels)
}

#[test]
fn engines_come_and_go() {
    let vllm = Vllm::start();
    let both = |generated| ok(&(engine("m", "0", generated) + &engine("m", "1", generated)));
    vllm.answer(both(100));
    let exporter = serve(&vllm.url);
    exporter.wait_for("/metrics", 10, |page| tokens(page, "1").is_some());
    vllm.answer(both(300));
    exporter.wait_for("/metrics", 10, |page| tokens(page, "1") == Some(200.0));

    vllm.answer(ok(&engine("m", "0", 400)));
    let one = exporter.wait_for("/metrics", 10, |page| tokens(page, "0") == Some(300.0));
    assert!(!one.contains("engine=\"1\""), "{one}");
    assert_eq!(discards(&one, "engines_changed"), 1);
    assert!(
        !exporter
            .get("/api/v1/snapshot")
            .1
            .contains("\"engine\":\"1\"")
    );

    vllm.answer(both(500));
    let again = exporter.wait_for("/metrics", 10, |page| {
        tokens(page, "0") == Some(400.0) && tokens(page, "1").is_some()
    });
    assert_eq!(
        tokens(&again, "1"),
        Some(0.0),
        "what it did before is forgotten"
    );
    vllm.answer(both(600));
    let after = exporter.wait_for("/metrics", 10, |page| tokens(page, "0") == Some(500.0));
    assert_eq!(tokens(&after, "1"), Some(100.0));
    assert_sound(&after);
}

/// Two engines share two GPUs, then one engine has both, repeatedly.
#[test]
fn gpus_follow_the_engines() {
    let vllm = Vllm::start();
    let page = |engines: usize| {
        let engines: String = (0..engines)
            .map(|rank| engine("m", &rank.to_string(), 100))
            .collect();
        ok(&engines)
    };
    vllm.answer(page(1));
    let dcgm = crate::support::Answering::with(ok(&two_gpus()));
    let arguments = ["serve", "--vllm-url", &vllm.url, "--dcgm-url", &dcgm.url];
    let exporter = Exporter::start(&arguments);
    let gpus_of = |page: &str, of: &str| {
        let engine = format!("engine=\"{of}\"");
        let infos = page
            .lines()
            .filter(|line| line.starts_with("vllm_roofline_gpu_info{"));
        infos.filter(|line| line.contains(&engine)).count()
    };
    exporter.wait_for("/metrics", 10, |page| gpus_of(page, "0") == 2);
    vllm.answer(page(2));
    exporter.wait_for("/metrics", 10, |page| {
        gpus_of(page, "0") == 1 && gpus_of(page, "1") == 1
    });
    vllm.answer(page(1));
    exporter.wait_for("/metrics", 10, |page| {
        gpus_of(page, "0") == 2 && gpus_of(page, "1") == 0
    });
}

fn two_gpus() -> String {
    let of = |gpu: usize| {
        format!(
            "DCGM_FI_DEV_POWER_USAGE{{gpu=\"{gpu}\",UUID=\"GPU-{gpu}\",modelName=\"NVIDIA H100 80GB HBM3\"}} 100\n"
        )
    };
    of(0) + &of(1)
}

#[test]
fn a_hung_server_is_stalled_and_a_gone_one_unreachable() {
    let vllm = Vllm::start();
    let arguments = [
        "serve",
        "--vllm-url",
        &vllm.url,
        "--gpu-source",
        "none",
        "--stall-after",
        "1s",
    ];
    let exporter = Exporter::start(&arguments);
    let state = |state: &'static str| {
        move |page: &str| {
            value(
                page,
                "vllm_roofline_engine_state",
                &format!("state=\"{state}\""),
            ) == Some(1.0)
        }
    };
    exporter.wait_for("/metrics", 15, state("stalled"));
    vllm.answer("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let gone = exporter.wait_for("/metrics", 15, state("unreachable"));
    assert_eq!(value(&gone, "vllm_roofline_tokens_per_second", ""), None);
    assert_eq!(
        value(&gone, "vllm_roofline_bound", "bound=\"unknown\""),
        Some(1.0)
    );
}
