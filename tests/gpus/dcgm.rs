//! GPUs from a dcgm-exporter.

use crate::support::{Answering, Exporter, ok, value};
use crate::{assert_told_everywhere, check, missing, of_gpu, serve, success};

const GPU: &str = "GPU-aaaaaaaa-0000-0000-0000-000000000000";
const OTHER: &str = "GPU-bbbbbbbb-1111-1111-1111-111111111111";

/// A series for each of `values`, of one GPU.
fn series(labels: &str, values: &[(&str, &str)]) -> String {
    values
        .iter()
        .map(|(name, value)| format!("# TYPE {name} gauge\n{name}{{{labels}}} {value}\n"))
        .collect()
}

fn labels(index: u32, uuid: &str, more: &str) -> String {
    format!(
        "gpu=\"{index}\",UUID=\"{uuid}\",pci_bus_id=\"00000000:0{index}:00.0\",device=\"nvidia{index}\",modelName=\"NVIDIA H100 80GB HBM3\",Hostname=\"node-1\",DCGM_FI_DRIVER_VERSION=\"580.95.05\"{more}"
    )
}

/// The names before DCGM 4.6.
const OLD: [(&str, &str); 10] = [
    ("DCGM_FI_DEV_SM_CLOCK", "1755"),
    ("DCGM_FI_DEV_MEM_CLOCK", "2619"),
    ("DCGM_FI_DEV_GPU_TEMP", "55"),
    ("DCGM_FI_DEV_POWER_USAGE", "541.5"),
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "66252765"),
    ("DCGM_FI_DEV_GPU_UTIL", "98"),
    ("DCGM_FI_DEV_FB_USED", "73453"),
    ("DCGM_FI_DEV_FB_FREE", "8106"),
    ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "0.023456"),
    ("DCGM_FI_PROF_DRAM_ACTIVE", "0.500000"),
];

/// The same with the names of DCGM 4.6, and fields that are disabled by default.
const NEW: [(&str, &str); 11] = [
    ("DCGM_FI_DEV_SM_CLOCK", "1755"),
    ("DCGM_FI_DEV_MEM_CLOCK", "2619"),
    ("DCGM_FI_DEV_GPU_TEMP_CELSIUS", "55"),
    ("DCGM_FI_DEV_BOARD_POWER_WATTS", "541.5"),
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "66252765"),
    ("DCGM_FI_DEV_GPU_UTIL_RATIO", "98"),
    ("DCGM_FI_DEV_FB_USED", "73453"),
    ("DCGM_FI_PROF_TENSOR_UTIL_RATIO", "0.023456"),
    ("DCGM_FI_PROF_DRAM_UTIL_RATIO", "0.500000"),
    ("DCGM_FI_PROF_SM_UTIL_RATIO", "0.82"),
    ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "4"),
];

/// An exporter that reads `page`, with the servers it needs.
fn reading(page: &str, arguments: &[&str]) -> (Exporter, [Answering; 2]) {
    let dcgm = Answering::with(ok(page));
    let mut all = vec!["--gpu-source", "dcgm", "--dcgm-url", &dcgm.url];
    all.extend(arguments);
    let (exporter, vllm) = serve(&[], &all);
    (exporter, [dcgm, vllm])
}

#[test]
fn old_and_new_names_give_the_same_readings() {
    let old = series(&labels(0, GPU, ""), &OLD);
    // Since 4.6 the host's label is lower case.
    let new = series(&labels(0, GPU, "").replace("Hostname", "hostname"), &NEW);
    for page in [old, new] {
        let (exporter, _servers) = reading(&page, &[]);
        let shown = exporter.wait_for("/metrics", 10, |page| {
            of_gpu(page, "measured_hbm_bytes_total", GPU).is_some()
        });
        assert_eq!(success(&shown, "dcgm"), Some(1.0));
        for (family, expected) in [
            ("gpu_sm_clock_hertz", 1.755e9),
            ("gpu_power_watts", 541.5),
            ("gpu_temperature_celsius", 55.0),
            ("gpu_utilization_ratio", 0.98),
            ("gpu_tensor_active_ratio", 0.023_456),
            ("gpu_memory_used_bytes", 73_453.0 * 1_048_576.0),
        ] {
            let read = of_gpu(&shown, family, GPU).unwrap();
            assert!((read / expected - 1.0).abs() < 1e-9, "{family}: {read}");
        }
        let spec = "spec=\"h100-sxm5-80gb\",provenance=\"table\"";
        assert_eq!(value(&shown, "vllm_roofline_gpu_info", spec), Some(1.0));
        // Half of bus × clock, both known from the table, over the table's bandwidth.
        let family = "vllm_roofline_measured_bandwidth_utilization_ratio";
        let shown = exporter.wait_for("/metrics", 10, |page| value(page, family, "").is_some());
        let measured = value(&shown, family, "").unwrap();
        assert!((measured - 0.5).abs() < 0.001, "{measured}");
    }
}

#[test]
fn energy_grows_by_what_the_counter_grows() {
    let at = |energy: &str| {
        let mut values = OLD;
        values[4].1 = energy;
        ok(&series(&labels(0, GPU, ""), &values))
    };
    let (exporter, [dcgm, _vllm]) = reading(&series(&labels(0, GPU, ""), &OLD), &[]);
    let energy = |page: &str| of_gpu(page, "energy_joules_total", GPU);
    exporter.wait_for("/metrics", 10, |page| energy(page) == Some(0.0));
    dcgm.answer(at("66253766"));
    exporter.wait_for("/metrics", 10, |page| {
        energy(page).is_some_and(|joules| (joules - 1.001).abs() < 1e-9)
    });
}

#[test]
fn the_pods_own_gpus_are_taken_by_their_labels() {
    let pod = |name: &str| format!(",container=\"vllm\",namespace=\"serving\",pod=\"{name}\"");
    let page = series(&labels(0, GPU, &pod("llama-0")), &OLD)
        + &series(&labels(1, OTHER, &pod("qwen-0")), &OLD);
    for name in ["serving/qwen-0", "qwen-0"] {
        let (exporter, _servers) = reading(&page, &["--dcgm-pod", name]);
        let shown = exporter.wait_for("/metrics", 10, |page| {
            of_gpu(page, "gpu_power_watts", OTHER).is_some()
        });
        assert!(!shown.contains(GPU), "{shown}");
    }
    let dcgm = Answering::with(ok(&page));
    assert_told_everywhere(
        &[],
        &[
            "--gpu-source",
            "dcgm",
            "--dcgm-url",
            &dcgm.url,
            "--dcgm-pod",
            "other/qwen-0",
        ],
        "dcgm",
        "no_gpu",
        "is labelled with the pod other/qwen-0",
    );
}

#[test]
fn gpus_are_chosen_by_index_and_by_uuid() {
    let page = series(&labels(0, GPU, ""), &OLD) + &series(&labels(1, OTHER, ""), &OLD);
    for device in ["1", OTHER] {
        let (exporter, _servers) = reading(&page, &["--gpu-devices", device]);
        let shown = exporter.wait_for("/metrics", 10, |page| {
            of_gpu(page, "gpu_power_watts", OTHER).is_some()
        });
        assert!(!shown.contains(GPU), "{shown}");
    }
    let (exporter, _servers) = reading(&page, &["--tensor-parallel-size", "2"]);
    exporter.wait_for("/metrics", 10, |page| {
        [GPU, OTHER]
            .iter()
            .all(|gpu| of_gpu(page, "gpu_power_watts", gpu).is_some())
    });
}

#[test]
fn what_is_not_exported_is_absent_with_its_reason() {
    let page = series(&labels(0, GPU, ""), &OLD[..6])
        // A placeholder of an older exporter.
        + &series(&labels(0, GPU, ""), &[("DCGM_FI_PROF_DRAM_ACTIVE", "9223372036854775794")]);
    let (exporter, _servers) = reading(&page, &[]);
    let shown = exporter.wait_for("/metrics", 10, |page| missing(page, "gpm") == Some(1.0));
    assert_eq!(of_gpu(&shown, "measured_hbm_bytes_total", GPU), None);
    assert_eq!(value(&shown, "vllm_roofline_power_limited_ratio", ""), None);
    assert!(of_gpu(&shown, "gpu_power_watts", GPU).is_some());
    let dcgm = Answering::with(ok(&page));
    let checked = check(&[], &["--gpu-source", "dcgm", "--dcgm-url", &dcgm.url]);
    let row = checked
        .lines()
        .find(|line| line.contains("clock event reasons"));
    assert!(
        row.is_some_and(|row| row.contains("not exported")),
        "{checked}"
    );
}

#[test]
fn a_gpu_of_two_pods_and_a_mig_instance_are_nobodys_measure() {
    let pod = |name: &str| labels(0, GPU, &format!(",namespace=\"a\",pod=\"{name}\""));
    let shared = series(&pod("one"), &OLD) + &series(&pod("two"), &OLD);
    let (exporter, _servers) = reading(&shared, &["--dcgm-pod", "one"]);
    exporter.wait_for("/metrics", 10, |page| {
        missing(page, "gpu_alone") == Some(1.0) && !page.contains(GPU)
    });

    let instance = labels(0, GPU, ",GPU_I_PROFILE=\"1g.10gb\",GPU_I_ID=\"7\"");
    let (exporter, _servers) = reading(&series(&instance, &OLD), &[]);
    let uuid = format!("{GPU}/7");
    let shown = exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "gpu_memory_used_bytes", &uuid).is_some()
    });
    assert_eq!(missing(&shown, "gpu"), Some(1.0));
    assert_eq!(of_gpu(&shown, "energy_joules_total", &uuid), None);
    assert_eq!(of_gpu(&shown, "measured_hbm_bytes_total", &uuid), None);
}

#[test]
fn amds_exporter_is_read_by_the_same_route() {
    let labels = "gpu_id=\"0\",card_model=\"AMD Instinct MI300X\",serial_number=\"SN-0\",hostname=\"node-1\"";
    let page = series(
        labels,
        &[
            ("gpu_package_power", "748"),
            ("gpu_energy_consumed", "1.4e17"),
            ("gpu_used_vram", "183265"),
            ("gpu_total_vram", "196592"),
            ("gpu_prof_tensor_active_percent", "25"),
            ("gpu_gfx_activity", "97"),
        ],
    );
    let page = page
        + &series(
            &format!("{labels},clock_type=\"GPU_CLOCK_TYPE_SYSTEM\",clock_index=\"0\""),
            &[("gpu_clock", "1533")],
        );
    let (exporter, _servers) = reading(&page, &[]);
    let shown = exporter.wait_for("/metrics", 10, |page| {
        of_gpu(page, "gpu_power_watts", "SN-0") == Some(748.0)
    });
    assert_eq!(
        of_gpu(&shown, "gpu_tensor_active_ratio", "SN-0"),
        Some(0.25)
    );
    assert_eq!(of_gpu(&shown, "gpu_sm_clock_hertz", "SN-0"), Some(1.533e9));
    assert_eq!(
        value(&shown, "vllm_roofline_gpu_info", "spec=\"mi300x\""),
        Some(1.0)
    );
    assert_eq!(missing(&shown, "gpm"), Some(1.0));
}

#[test]
fn pages_that_tell_of_no_gpu_are_named() {
    for (answer, reason, words) in [
        (ok("up 1\n"), "no_gpu", "none of a dcgm-exporter"),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "status",
            "point at a dcgm-exporter",
        ),
    ] {
        let dcgm = Answering::with(answer);
        let arguments = ["--gpu-source", "dcgm", "--dcgm-url", &dcgm.url];
        assert_told_everywhere(&[], &arguments, "dcgm", reason, words);
    }
    let nobody = [
        "--gpu-source",
        "dcgm",
        "--dcgm-url",
        "http://127.0.0.1:1/metrics",
    ];
    assert_told_everywhere(&[], &nobody, "dcgm", "connect", "cannot connect");
}

#[cfg(feature = "nvml")]
#[test]
fn auto_takes_the_exporter_where_there_is_no_library() {
    let dcgm = Answering::with(ok(&series(&labels(0, GPU, ""), &OLD)));
    let nothing = crate::fake::FakeNvml::broken();
    let (exporter, _vllm) = serve(&nothing.environment(), &["--dcgm-url", &dcgm.url]);
    let page = exporter.wait_for("/metrics", 10, |page| success(page, "dcgm") == Some(1.0));
    assert_eq!(success(&page, "nvml"), None);
}
