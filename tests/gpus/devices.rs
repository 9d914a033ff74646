//! Which GPUs belong to the engine, their sums, and their ceilings.

use std::process::{Child, Command, Stdio};

use crate::fake::FakeNvml;
use crate::support::{Exporter, value};
use crate::{check, missing, of_gpu, serve};

const BANDWIDTH: &str = "vllm_roofline_peak_hbm_bytes_per_second";

/// The page once `family` is there for all of `gpus`.
#[track_caller]
fn page_with(exporter: &Exporter, family: &str, gpus: &[&str]) -> String {
    exporter.wait_for("/metrics", 10, |page| {
        gpus.iter().all(|gpu| of_gpu(page, family, gpu).is_some())
    })
}

#[test]
fn a_gpu_is_read_as_the_driver_tells() {
    let driver = FakeNvml::with("nvlink 1");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    let gpu = "GPU-fake-0";
    let page = page_with(&exporter, "measured_hbm_bytes_total", &[gpu]);
    for (family, expected) in [
        ("gpu_sm_clock_hertz", 1.98e9),
        ("gpu_memory_clock_hertz", 2.619e9),
        ("gpu_power_watts", 120.0),
        ("gpu_temperature_celsius", 34.0),
        ("gpu_memory_used_bytes", 1000.0 * 1_048_576.0),
        ("gpu_utilization_ratio", 0.98),
        ("gpu_tensor_active_ratio", 0.1),
        ("gpu_sm_active_ratio", 0.8),
        ("gpu_sm_occupancy_ratio", 0.12),
    ] {
        let read = of_gpu(&page, family, gpu).unwrap();
        assert!((read / expected - 1.0).abs() < 1e-9, "{family}: {read}");
    }
    let link = |link: &str| {
        let labels = format!("link=\"{link}\",direction=\"sent\"");
        value(&page, "vllm_roofline_gpu_link_bytes_total", &labels).unwrap()
    };
    // 2000 MiB/s and 100 MiB/s over the same time.
    let times = link("nvlink") / link("pcie");
    assert!((times - 20.0).abs() < 1e-9, "{times}");
    // 40 % of 5120 bit / 8 × 2619 MHz × 2, over the table's 3352 GB/s.
    let measured = "vllm_roofline_measured_bandwidth_utilization_ratio";
    let page = exporter.wait_for("/metrics", 10, |page| value(page, measured, "").is_some());
    let measured = value(&page, measured, "").unwrap();
    assert!((measured - 0.4).abs() < 0.001, "{measured}");
    let clocked = "vllm_roofline_current_clock_flops_per_second";
    assert!(value(&page, clocked, "precision=\"bf16\"").is_some_and(|peak| peak > 1.07e15));
}

#[test]
fn a_power_cap_is_seen_in_the_reasons() {
    let driver = FakeNvml::with("");
    // t, SM and memory clock, mJ, mW, MiB, °C, reasons, tensor, SM, occupancy and DRAM shares
    let line = "1395 2619 66000000 687000 70000 60 4 92.6 95 14 25\n";
    let recording = driver.path("recording");
    std::fs::write(&recording, format!("0 {line}1 {line}")).unwrap();
    driver.script(&format!("recording {}", recording.display()));
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    exporter.wait_for("/metrics", 10, |page| {
        value(page, "vllm_roofline_power_limited_ratio", "") == Some(1.0)
    });
}

#[test]
fn the_gpus_of_an_engine_add_up() {
    let one = FakeNvml::with("");
    let (exporter, _vllm) = serve(&one.environment(), &[]);
    let page = page_with(&exporter, "gpu_power_watts", &["GPU-fake-0"]);
    let single = value(&page, BANDWIDTH, "").unwrap();
    for count in [2_u32, 8] {
        let driver = FakeNvml::with(&format!("count {count}"));
        let size = count.to_string();
        let (exporter, _vllm) = serve(&driver.environment(), &["--tensor-parallel-size", &size]);
        let uuids: Vec<_> = (0..count)
            .map(|index| format!("GPU-fake-{index}"))
            .collect();
        let uuids: Vec<_> = uuids.iter().map(String::as_str).collect();
        let page = page_with(&exporter, "measured_hbm_bytes_total", &uuids);
        let all = value(&page, BANDWIDTH, "").unwrap();
        assert!((all / single - f64::from(count)).abs() < 1e-9);
        // Each GPU at 40 %: so are all of them.
        let family = "vllm_roofline_measured_bandwidth_utilization_ratio";
        let page = exporter.wait_for("/metrics", 10, |page| value(page, family, "").is_some());
        let measured = value(&page, family, "").unwrap();
        assert!((measured - 0.4).abs() < 0.001, "{count}: {measured}");
    }
}

/// 16 GPUs over two nodes, 8 of them on this node: those are shown, and represent the others.
#[test]
fn an_engine_over_two_nodes_shows_the_gpus_of_this_one() {
    let driver = FakeNvml::with("count 8");
    let parallel = ["--tensor-parallel-size=8", "--pipeline-parallel-size=2"];
    let (exporter, _vllm) = serve(&driver.environment(), &parallel);
    let page = page_with(&exporter, "measured_hbm_bytes_total", &["GPU-fake-7"]);
    assert_eq!(page.matches("vllm_roofline_gpu_info{").count(), 8);
    let family = "vllm_roofline_measured_bandwidth_utilization_ratio";
    let page = exporter.wait_for("/metrics", 10, |page| value(page, family, "").is_some());
    let measured = value(&page, family, "").unwrap();
    assert!((measured - 0.4).abs() < 0.001, "{measured}");
}

#[test]
fn gpus_are_chosen_by_index_and_by_uuid() {
    let driver = FakeNvml::with("count 8");
    for (device, uuid) in [("3", "GPU-fake-3"), ("GPU-fake-5", "GPU-fake-5")] {
        let (exporter, _vllm) = serve(&driver.environment(), &["--gpu-devices", device]);
        let page = page_with(&exporter, "gpu_power_watts", &[uuid]);
        let read = page
            .lines()
            .filter(|line| line.starts_with("vllm_roofline_gpu_power_watts{"));
        assert_eq!(read.count(), 1);
    }
}

#[test]
fn gpus_that_may_be_anyones_are_not_claimed() {
    let driver = FakeNvml::with("count 8");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    let page = exporter.wait_for("/metrics", 10, |page| {
        missing(page, "gpu_devices") == Some(1.0)
    });
    assert!(!page.contains("gpu=\"GPU-fake-"), "{page}");
    assert!(exporter.get("/").1.contains("set --gpu-devices"));
}

/// A process that looks like the vLLM on the port of `url`.
struct LooksLikeVllm(Child);

impl LooksLikeVllm {
    fn on(url: &str, directory: &std::path::Path) -> Self {
        let script = directory.join("vllm");
        // Waits forever; ends with the test.
        std::fs::write(&script, "read nothing\n").unwrap();
        let port = url.rsplit(':').next().unwrap();
        let child = Command::new("sh")
            .arg(script)
            .args(["serve", crate::MODEL, "--port", port])
            .stdin(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for LooksLikeVllm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn gpus_are_found_by_the_processes_on_them_and_not_shared_with_others() {
    let driver = FakeNvml::with("");
    let vllm = crate::idle_vllm();
    let server = LooksLikeVllm::on(&vllm.url, driver.directory.path());
    let own = server.0.id();
    driver.script(&format!("count 4\n2.process {own}\n3.process 1"));
    let arguments = ["serve", "--vllm-url", &vllm.url];
    let exporter = Exporter::start_in(&driver.environment(), &arguments);
    let page = page_with(&exporter, "gpu_power_watts", &["GPU-fake-2"]);
    assert_eq!(page.matches("vllm_roofline_gpu_power_watts{").count(), 1);
    drop(exporter);

    driver.script(&format!("count 1\n0.process {own} 1"));
    let exporter = Exporter::start_in(&driver.environment(), &arguments);
    let page = exporter.wait_for("/metrics", 10, |page| {
        missing(page, "gpu_alone") == Some(1.0)
    });
    assert!(!page.contains("gpu=\"GPU-fake-0\""), "{page}");
    // The ceilings are still those of the GPU.
    assert!(value(&page, BANDWIDTH, "").is_some());
    assert!(exporter.get("/").1.contains("cannot be split"));
}

#[test]
fn a_gpu_of_several_processes_is_the_engines_only_if_we_are_told() {
    // None of them is known as vLLM's: its processes may not be visible.
    let driver = FakeNvml::with("process 1 2");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    exporter.wait_for("/metrics", 10, |page| {
        missing(page, "gpu_alone") == Some(1.0)
    });
    let (exporter, _vllm) = serve(&driver.environment(), &["--gpu-devices", "0"]);
    let page = page_with(&exporter, "gpu_power_watts", &["GPU-fake-0"]);
    assert_eq!(missing(&page, "gpu_alone"), None);
}

#[test]
fn a_mig_slice_has_ceilings_of_its_own_and_no_share_of_what_the_gpu_counts() {
    let driver = FakeNvml::with("mig 2");
    let slice = "MIG-fake-0-1";
    let arguments = ["--gpu-devices", slice];
    let (exporter, _vllm) = serve(&driver.environment(), &arguments);
    let page = page_with(&exporter, "gpu_memory_used_bytes", &[slice]);
    let whole = FakeNvml::with("");
    let (other, _vllm) = serve(&whole.environment(), &[]);
    let whole = page_with(&other, "gpu_power_watts", &["GPU-fake-0"]);
    let share = |name: &str, labels: &str| {
        value(&page, name, labels).unwrap() / value(&whole, name, labels).unwrap()
    };
    assert!((share(BANDWIDTH, "") - 1.0 / 8.0).abs() < 1e-9);
    let flops = share("vllm_roofline_peak_flops_per_second", "precision=\"bf16\"");
    assert!((flops - 16.0 / 132.0).abs() < 1e-9, "{flops}");
    for family in [
        "energy_joules_total",
        "gpu_power_watts",
        "gpu_utilization_ratio",
    ] {
        assert_eq!(of_gpu(&page, family, slice), None);
    }
    assert_eq!(missing(&page, "gpm"), Some(1.0));
    let checked = check(&driver.environment(), &arguments);
    assert!(checked.contains("9728 MiB, 16 SMs"), "{checked}");
    assert!(checked.contains("counted for the whole GPU"), "{checked}");
}

#[test]
fn mig_without_a_slice_is_named() {
    crate::assert_told_everywhere(
        &FakeNvml::with("mig 0").environment(),
        &[],
        "nvml",
        "no_mig_slice",
        "none of its slices can be seen",
    );
}

#[test]
fn a_gpu_that_is_cut_up_while_it_is_read_is_found_anew() {
    let driver = FakeNvml::with("");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    page_with(&exporter, "gpu_power_watts", &["GPU-fake-0"]);
    driver.script("mig 1");
    exporter.wait_for("/metrics", 40, |page| {
        of_gpu(page, "gpu_memory_used_bytes", "MIG-fake-0-0").is_some()
            && of_gpu(page, "gpu_power_watts", "GPU-fake-0").is_none()
    });
}

#[test]
fn a_gpu_that_no_table_has_gets_its_ceilings_from_the_driver() {
    let driver = FakeNvml::with("name NVIDIA H987\nbus 6144");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    let page = page_with(&exporter, "gpu_power_watts", &["GPU-fake-0"]);
    let derived = "name=\"NVIDIA H987\",spec=\"nvidia-h987\",provenance=\"derived\"";
    assert_eq!(value(&page, "vllm_roofline_gpu_info", derived), Some(1.0));
    let bandwidth = value(&page, BANDWIDTH, "").unwrap();
    assert!((bandwidth / (6144.0 / 8.0 * 2619e6 * 2.0) - 1.0).abs() < 1e-9);
    // 132 SMs × 4096 FLOPs a clock × 1980 MHz.
    let flops = value(
        &page,
        "vllm_roofline_peak_flops_per_second",
        "precision=\"bf16\"",
    );
    assert!((flops.unwrap() / (132.0 * 4096.0 * 1.98e9) - 1.0).abs() < 1e-9);
}
