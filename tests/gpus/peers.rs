//! GPUs of one engine, and several engines: link traffic, and which GPU belongs to which engine.

use crate::fake::FakeNvml;
use crate::support::{Answering, Exporter, ok, value};
use crate::{MODEL, of_gpu, serve};

const LINKS: &str = "vllm_roofline_peak_interconnect_bytes_per_second";

#[test]
fn gpus_without_a_bridge_reach_each_other_over_pcie() {
    for (nvlink, gigabytes) in [(1, 450.0), (0, 64.0)] {
        let driver = FakeNvml::with(&format!("count 2\nnvlink {nvlink}"));
        let (exporter, _vllm) = serve(&driver.environment(), &["--tensor-parallel-size", "2"]);
        let page = exporter.wait_for("/metrics", 10, |page| value(page, LINKS, "").is_some());
        let peak = value(&page, LINKS, "").unwrap();
        assert!((peak - 2.0 * gigabytes * 1e9).abs() < 1.0, "{peak}");
        let sent = "vllm_roofline_interconnect_bytes_total";
        assert_eq!(value(&page, sent, "phase=\"prefill\""), Some(0.0));
    }
}

#[test]
fn one_gpu_has_no_peers() {
    let driver = FakeNvml::with("");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    let page = exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "measured_hbm_bytes_total", "GPU-fake-0").is_some()
    });
    assert_eq!(value(&page, LINKS, ""), None);
    assert!(!page.contains("vllm_roofline_interconnect_bytes_total{"));
}

/// The page of a real vLLM with `--data-parallel-size 2`: each engine has one of the two GPUs, in order of rank.
#[test]
fn engines_of_a_data_parallel_server_have_a_gpu_each() {
    let driver = FakeNvml::with("count 2\n0.dram 60\n1.dram 20");
    let page = std::fs::read_to_string("tests/fixtures/vllm/vllm-0.32.0-cpu-dp2.prom").unwrap();
    let vllm = Answering::with(ok(&page));
    let arguments = [
        "serve",
        "--vllm-url",
        &vllm.url,
        "--model",
        MODEL,
        "--data-parallel-size=2",
    ];
    let exporter = Exporter::start_in(&driver.environment(), &arguments);
    let measured = "vllm_roofline_measured_bandwidth_utilization_ratio";
    let of_engine =
        |page: &str, engine: usize| value(page, measured, &format!("engine=\"{engine}\""));
    let page = exporter.wait_for("/metrics", 15, |page| {
        (0..2).all(|engine| of_engine(page, engine).is_some())
    });
    for (engine, share) in [(0, 0.6), (1, 0.2)] {
        let shown = of_engine(&page, engine).unwrap();
        assert!((shown / share - 1.0).abs() < 0.01, "{engine}: {shown}");
        let labels = format!("engine=\"{engine}\",gpu=\"GPU-fake-{engine}\"");
        for family in ["gpu_info", "gpu_power_watts", "measured_hbm_bytes_total"] {
            let name = format!("vllm_roofline_{family}");
            assert_eq!(page.matches(&format!("{name}{{")).count(), 2, "{family}");
            assert!(value(&page, &name, &labels).is_some(), "{family}");
        }
    }
}
