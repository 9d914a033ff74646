//! Faults of a driver and its GPUs: every state has a name, affects only its own values, and is temporary.

use crate::fake::FakeNvml;
use crate::support::value;
use crate::{assert_told, assert_told_everywhere, check, missing, of_gpu, serve, success};

const GPU: &str = "GPU-fake-0";

#[test]
fn a_driver_that_is_not_there_is_named() {
    assert_told_everywhere(
        &FakeNvml::broken().environment(),
        &["--gpu-source", "nvml"],
        "nvml",
        "library_missing",
        "libnvidia-ml.so.1 cannot be loaded",
    );
    for (code, reason, words) in [
        (9, "driver_not_loaded", "driver is not loaded"),
        (18, "version_mismatch", "differ in version"),
        (4, "no_permission", "denies access"),
    ] {
        let driver = FakeNvml::with(&format!("init {code}"));
        assert_told_everywhere(&driver.environment(), &[], "nvml", reason, words);
    }
}

#[test]
fn auto_goes_on_without_the_library_and_says_so_once() {
    let (exporter, _vllm) = serve(&FakeNvml::broken().environment(), &[]);
    let page = exporter.wait_for("/metrics", 10, |page| {
        value(page, "vllm_roofline_up", "") == Some(1.0)
    });
    assert_eq!(success(&page, "nvml"), None);
    assert_eq!(exporter.log().matches("no GPU is read: ").count(), 1);
    let checked = check(&FakeNvml::broken().environment(), &[]);
    let why = "libnvidia-ml.so.1 cannot be loaded";
    assert!(
        checked.contains(why) && checked.contains("no GPU is read: "),
        "{checked}"
    );
}

#[test]
fn a_driver_without_gpus_is_named() {
    let driver = FakeNvml::with("count 0");
    assert_told_everywhere(&driver.environment(), &[], "nvml", "no_gpu", "shows no GPU");
}

#[test]
fn a_gpu_that_is_not_there_is_named_with_those_that_are() {
    let driver = FakeNvml::with("count 2");
    assert_told_everywhere(
        &driver.environment(),
        &["--gpu-devices", "5"],
        "nvml",
        "no_such_gpu",
        "only 0 (GPU-fake-0), 1 (GPU-fake-1) can be seen",
    );
}

#[test]
fn gpus_that_are_kept_from_us_are_left_alone() {
    let driver = FakeNvml::with("count 2\n0.open 4");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    let page = exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "energy_joules_total", "GPU-fake-1").is_some()
    });
    assert_eq!(success(&page, "nvml"), Some(1.0));
    driver.script("count 2\nopen 4");
    assert_told_everywhere(
        &driver.environment(),
        &[],
        "nvml",
        "no_permission",
        "denies access to GPU 0",
    );
}

#[test]
fn a_lost_gpu_takes_its_series_along_and_comes_back() {
    let driver = FakeNvml::with("");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    let before = exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "measured_hbm_bytes_total", GPU).is_some()
    });
    driver.script("all 15");
    assert_told(&exporter, "nvml", "gpu_lost", "is lost");
    let lost = exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "gpu_power_watts", GPU).is_none()
    });
    assert!(!lost.contains(&format!("gpu=\"{GPU}\"")), "{lost}");
    // The GPU's facts stay when it is lost.
    assert!(value(&lost, "vllm_roofline_peak_hbm_bytes_per_second", "").is_some());
    driver.script("");
    let after = exporter.wait_for("/metrics", 40, |page| {
        success(page, "nvml") == Some(1.0)
            && of_gpu(page, "measured_hbm_bytes_total", GPU).is_some()
    });
    for counter in ["energy_joules_total", "measured_hbm_bytes_total"] {
        let (before, after) = (of_gpu(&before, counter, GPU), of_gpu(&after, counter, GPU));
        assert!(before <= after, "{counter}: {before:?}, then {after:?}");
    }
}

#[test]
fn the_loss_of_one_gpu_leaves_the_other() {
    let driver = FakeNvml::with("count 2");
    let arguments = ["--tensor-parallel-size", "2"];
    let (exporter, _vllm) = serve(&driver.environment(), &arguments);
    exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "gpu_power_watts", "GPU-fake-1").is_some()
    });
    driver.script("count 2\n1.all 15");
    let page = exporter.wait_for("/metrics", 20, |page| {
        success(page, "nvml") == Some(0.0)
            && of_gpu(page, "gpu_power_watts", "GPU-fake-1").is_none()
    });
    assert!(of_gpu(&page, "gpu_power_watts", GPU).is_some());
}

#[test]
fn a_call_that_fails_takes_only_its_own_value_along() {
    for (script, family, quantity, words) in [
        (
            "energy 3",
            "energy_joules_total",
            "energy",
            "not supported by this GPU",
        ),
        (
            "clock 4",
            "gpu_sm_clock_hertz",
            "SM clock",
            "denies permission",
        ),
        (
            "memory 999",
            "gpu_memory_used_bytes",
            "memory in use",
            "failed to tell",
        ),
    ] {
        let driver = FakeNvml::with(script);
        let (exporter, _vllm) = serve(&driver.environment(), &[]);
        let page = exporter.wait_for("/metrics", 10, |page| {
            of_gpu(page, "gpu_tensor_active_ratio", GPU).is_some()
        });
        assert_eq!(of_gpu(&page, family, GPU), None, "{script}");
        assert!(of_gpu(&page, "gpu_temperature_celsius", GPU).is_some());
        assert_eq!(success(&page, "nvml"), Some(1.0));
        let checked = check(&driver.environment(), &[]);
        let row = checked
            .lines()
            .find(|line| line.trim_start().starts_with(quantity));
        assert!(row.is_some_and(|row| row.contains(words)), "{checked}");
    }
}

#[test]
fn a_gpu_without_a_uuid_goes_by_its_index() {
    let driver = FakeNvml::with("uuid 3");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "gpu_power_watts", "0").is_some()
    });
}

#[test]
fn gpm_that_is_not_to_be_had_is_a_missing_fact() {
    for (driver, words) in [
        (FakeNvml::with("gpm 0"), "not supported by this GPU"),
        (FakeNvml::with("gpm_sample 4"), "denies permission"),
        (FakeNvml::old(""), "not in this driver"),
    ] {
        let (exporter, _vllm) = serve(&driver.environment(), &[]);
        let page = exporter.wait_for("/metrics", 10, |page| {
            missing(page, "gpm") == Some(1.0)
                && of_gpu(page, "energy_joules_total", GPU).is_some_and(|energy| energy > 100.0)
        });
        assert_eq!(success(&page, "nvml"), Some(1.0), "{words}");
        assert_eq!(of_gpu(&page, "measured_hbm_bytes_total", GPU), None);
        let home = exporter.get("/").1;
        assert!(home.contains(words), "{home}");
        assert!(exporter.log().contains(words));
        assert!(check(&driver.environment(), &[]).contains(words));
    }
}

#[test]
fn gpm_that_is_no_number_is_no_reading() {
    let driver = FakeNvml::with("dram nan");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    let page = exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "energy_joules_total", GPU).is_some_and(|energy| energy > 100.0)
    });
    assert!(!page.contains("NaN"), "{page}");
    for family in ["measured_hbm_bytes_total", "gpu_tensor_active_ratio"] {
        assert_eq!(of_gpu(&page, family, GPU), None);
    }
    driver.script("dram 50");
    exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "measured_hbm_bytes_total", GPU).is_some_and(|bytes| bytes > 0.0)
    });
    // Its total is absent: a constant one would look like no traffic.
    driver.script("dram nan");
    exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "measured_hbm_bytes_total", GPU).is_none()
            && of_gpu(page, "energy_joules_total", GPU).is_some()
    });
}

#[test]
fn a_driver_that_hangs_holds_nothing_up() {
    let driver = FakeNvml::with("hang 3000");
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    assert_told(
        &exporter,
        "nvml",
        "timeout",
        "no answer from the driver yet",
    );
    driver.script("");
    exporter.wait_for("/metrics", 20, |page| {
        of_gpu(page, "gpu_power_watts", GPU).is_some() && success(page, "nvml") == Some(1.0)
    });
}
