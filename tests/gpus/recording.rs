//! A recording of a real H100, played by the fake driver, is reproduced.

use std::fmt::Write;
use std::io::Read;
use std::process::Command;

use serde_json::Value;

use crate::fake::FakeNvml;
use crate::support::{Answering, ok};
use crate::{of_gpu, serve};

/// The lines of a `gpu.jsonl.gz`.
fn lines(path: &std::path::Path) -> Vec<Value> {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// A driver that plays the H100 of the demo, and its lines.
fn h100() -> (FakeNvml, Vec<Value>) {
    let recorded = lines("config/demo/gpu.jsonl.gz".as_ref());
    let mut text = String::new();
    for line in &recorded {
        let gpm = &line["gpm"];
        let fields = [
            number(&line["t"]),
            number(&line["sm_clock_mhz"]),
            number(&line["mem_clock_mhz"]),
            number(&line["energy_millijoules"]),
            number(&line["power_milliwatts"]),
            number(&line["memory_used_bytes"]) / 1_048_576.0,
            number(&line["temperature_celsius"]),
            number(&line["clocks_event_reasons"]),
            number(&gpm["any_tensor_util"]),
            number(&gpm["sm_util"]),
            number(&gpm["sm_occupancy"]),
            number(&gpm["dram_bw_util"]),
        ];
        for field in fields {
            write!(text, "{field} ").unwrap();
        }
        text.push('\n');
    }
    let driver = FakeNvml::with("");
    let path = driver.path("recording");
    std::fs::write(&path, text).unwrap();
    driver.script(&format!("recording {}", path.display()));
    (driver, recorded)
}

#[test]
fn the_energy_is_that_of_the_counter_exactly() {
    let (driver, recorded) = h100();
    let (exporter, _vllm) = serve(&driver.environment(), &[]);
    let gpu = "GPU-fake-0";
    let page = exporter.wait_for("/metrics", 20, |page| {
        of_gpu(page, "energy_joules_total", gpu).is_some_and(|energy| energy > 500.0)
    });
    let exported = of_gpu(&page, "energy_joules_total", gpu).unwrap() * 1e3;
    let counter: Vec<_> = recorded
        .iter()
        .map(|line| number(&line["energy_millijoules"]))
        .collect();
    // The difference of two readings of the counter, to the millijoule.
    let is_a_difference = counter.iter().any(|first| {
        counter
            .iter()
            .any(|last| (last - first - exported).abs() < 1e-4)
    });
    assert!(is_a_difference, "{exported} mJ");
}

#[test]
fn what_is_recorded_live_is_what_the_driver_said_and_can_be_replayed() {
    let (driver, played) = h100();
    // A constant vLLM page is enough: this test is about GPUs.
    let page = "tests/fixtures/vllm/vllm-0.32.0-cpu-after-load.prom";
    let page = std::fs::read_to_string(page).unwrap();
    let vllm = Answering::with(ok(&page));
    let output = driver.path("capture");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
            .args(arguments)
            .envs(driver.environment())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let directory = output.to_str().unwrap();
    run(&[
        "record",
        "--vllm-url",
        &vllm.url,
        "--model",
        crate::MODEL,
        "--output",
        directory,
        "--duration",
        "8s",
        "--tick",
        "250ms",
    ]);
    let recorded = lines(&output.join("gpu.jsonl.gz"));
    assert!(recorded.len() > 10, "{} readings", recorded.len());
    let counter: Vec<_> = played
        .iter()
        .map(|line| number(&line["energy_millijoules"]))
        .collect();
    for line in &recorded {
        let energy = number(&line["energy_millijoules"]);
        assert!(counter.contains(&energy), "{energy} mJ was never said");
    }
    // Eight seconds of a counter that is expensive to read, and so not read at every tick.
    let mut asked: Vec<_> = recorded
        .iter()
        .map(|line| line["energy_millijoules"].as_u64())
        .collect();
    asked.dedup();
    assert!(asked.len() <= 6, "{asked:?}");
    assert_same_traffic(&played, &recorded);

    let manifest = std::fs::read_to_string(output.join("capture.json")).unwrap();
    let gpu = &serde_json::from_str::<Value>(&manifest).unwrap()["gpu"];
    assert_eq!(gpu["name"], "NVIDIA H100 80GB HBM3");
    assert_eq!(gpu["uuids"], serde_json::json!(["GPU-fake-0"]));
    assert_eq!(gpu["power_limit_milliwatts"], 700_000.0);
    let replayed = run(&["replay", "--capture", directory, "--format", "json"]);
    let replayed: Value = serde_json::from_str(&replayed).unwrap();
    let measured = |window: &Value| window["hbm_bytes_measured"].as_f64();
    let windows = replayed["windows"].as_array().unwrap();
    assert!(windows.iter().filter_map(measured).any(|bytes| bytes > 0.0));
}

/// Both saw the same DRAM traffic over the time of the recording, within 2 %.
#[track_caller]
fn assert_same_traffic(played: &[Value], recorded: &[Value]) {
    let share = |line: &Value| line["gpm"]["dram_bw_util"].as_f64().unwrap_or(0.0);
    // Each line covers the time since the previous line.
    let said = |from: f64, to: f64| {
        let parts = played.windows(2).map(|pair| {
            let (start, end) = (
                number(&pair[0]["t"]).max(from),
                number(&pair[1]["t"]).min(to),
            );
            (end - start).max(0.0) * share(&pair[1])
        });
        parts.sum::<f64>()
    };
    let read: f64 = recorded
        .windows(2)
        .map(|pair| (number(&pair[1]["t"]) - number(&pair[0]["t"])) * share(&pair[1]))
        .sum();
    let late = lateness(played, recorded);
    let time = |reading: &Value| number(&reading["t"]) - late;
    let said = said(time(&recorded[0]), time(&recorded[recorded.len() - 1]));
    assert!((read / said - 1.0).abs() < 0.02, "{read} of {said}");
}

/// How much later than recorded a line is played: the energy of a reading identifies the line that was playing. Readings that repeat the
/// previous energy are left out: the counter is not read every time.
fn lateness(played: &[Value], recorded: &[Value]) -> f64 {
    let energy = |line: &Value| number(&line["energy_millijoules"]);
    let (mut least, mut most) = (f64::NEG_INFINITY, f64::INFINITY);
    let read_anew = recorded
        .windows(2)
        .filter(|pair| energy(&pair[0]) < energy(&pair[1]))
        .map(|pair| &pair[1]);
    for reading in read_anew {
        let same = |line: &Value| (energy(line) - energy(reading)).abs() < 0.5;
        let line = played.iter().position(same).unwrap();
        most = most.min(number(&reading["t"]) - number(&played[line]["t"]));
        least = least.max(number(&reading["t"]) - number(&played[line + 1]["t"]));
    }
    f64::midpoint(least, most)
}
