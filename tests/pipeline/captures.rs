//! Every recording of a real H100 through the whole core: bytes against the DRAM counter, FLOPs against the tensor pipes, bounds against
//! the loads, and invariants of every window.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::path::PathBuf;
use std::sync::LazyLock;

use roofline::bound::{Admission, Bound};
use roofline::diagnosis::{FindingKind, RemedyKind, Severity};
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::command::replay::{self, Replay};
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::meter::figures::{Figures, PhaseFigures};

/// Peak of an H100 SXM in 16-bit formats, and its memory bus.
const PEAK: f64 = 989.4e12;
const BUS: f64 = 3.352_32e12;

/// Peak of the format in which the weights of `capture` are multiplied.
fn peak(capture: &str) -> f64 {
    if capture.ends_with("-fp8") {
        2.0 * PEAK
    } else {
        PEAK
    }
}

fn captures() -> Vec<(String, Capture)> {
    captures_in("tests/fixtures/captures")
}

pub(crate) fn captures_in(directory: &str) -> Vec<(String, Capture)> {
    let mut directories: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    directories.sort();
    directories
        .into_iter()
        .map(|directory| {
            let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
            (name, Capture::open(&directory).unwrap())
        })
        .collect()
}

static REPLAYS: LazyLock<Vec<(String, Replay)>> = LazyLock::new(|| {
    let settings = Settings::defaults().unwrap();
    captures()
        .into_iter()
        .map(|(name, capture)| (name, replay::replay(&capture, &settings).unwrap()))
        .collect()
});

fn named(phase: &Figures) -> &str {
    phase.name.as_deref().unwrap()
}

fn phase(capture: &str, name: &str) -> &'static Figures {
    let (_, replay) = REPLAYS.iter().find(|(found, _)| found == capture).unwrap();
    replay
        .phases
        .iter()
        .find(|phase| named(phase) == name)
        .unwrap()
}

fn pure_prefill(phase: &Figures) -> bool {
    phase.decode_tokens < phase.prefill_tokens * 0.01
}

/// The value that `percent` of `values` do not exceed.
fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent).div_ceil(100) - 1]
}

fn byte_error(phase: &Figures) -> f64 {
    let (modelled, measured) = (phase.hbm_bytes.unwrap(), phase.hbm_bytes_measured.unwrap());
    (modelled / measured - 1.0).abs()
}

#[test]
fn modelled_bytes_agree_with_gpm() {
    let phases: Vec<&Figures> = REPLAYS.iter().flat_map(|(_, r)| &r.phases).collect();
    let errors = |kind: &dyn Fn(&Figures) -> bool| -> Vec<f64> {
        let chosen = phases.iter().filter(|phase| kind(phase));
        chosen.map(|phase| byte_error(phase)).collect()
    };
    let median = percentile(errors(&|_| true), 50);
    assert!(median <= 0.03, "median error {median:.3}");
    let most = percentile(errors(&|phase| !pure_prefill(phase)), 90);
    assert!(
        most <= 0.05,
        "90th percentile outside pure prefill {most:.3}"
    );
    let prefill = percentile(errors(&pure_prefill), 90);
    assert!(
        prefill <= 0.10,
        "90th percentile in pure prefill {prefill:.3}"
    );
}

/// Large fp8, large experts, hidden 5,120 and open-loop traffic on another part; a hybrid, and a small model limited by its host.
#[test]
fn modelled_bytes_agree_with_gpm_on_later_recordings() {
    let settings = Settings::defaults().unwrap();
    let mut errors = Vec::new();
    let mut captures = captures_in("tests/fixtures/captures-h200");
    captures.extend(captures_in("tests/fixtures/captures-h100"));
    for (name, capture) in captures {
        for phase in replay::replay(&capture, &settings).unwrap().phases {
            let error = byte_error(&phase);
            assert!(error <= 0.10, "{name} {}: {error:.3}", named(&phase));
            errors.push(error);
        }
    }
    assert!(errors.len() >= 30, "{} phases", errors.len());
    let median = percentile(errors, 50);
    assert!(median <= 0.02, "median error {median:.3}");
}

#[test]
fn flops_of_pure_prefill_agree_with_the_tensor_pipes() {
    for (capture, replay) in &*REPLAYS {
        for phase in replay.phases.iter().filter(|phase| pure_prefill(phase)) {
            let ratio = phase.flops.unwrap() / phase.flops_tensor_pipe.unwrap();
            let (elsewhere, tolerance) = match capture.as_str() {
                // Expert kernels pad the rows of each expert to blocks of 128, which the pipes count: 512 rows become 576.
                moe if moe.contains("moe") => (0.09, 0.12),
                // Attention stays in 16-bit, where the pipes need twice the cycles for a FLOP.
                "llama-3.1-8b-fp8" => (0.06, 0.12),
                large if large.starts_with("llama-3.1-8b") => (0.0, 0.05),
                _ => (0.0, 0.12),
            };
            assert!(
                (ratio / (1.0 - elsewhere) - 1.0).abs() <= tolerance,
                "{capture} {}: {ratio:.3}",
                named(phase)
            );
        }
    }
}

/// The bound of each load, according to the hardware's counters, and why requests wait.
const BOUNDS: &[(&str, &str, Bound, Admission)] = {
    use Admission::{KvCapacity, MaxNumSeqs, Open, TokenBudget};
    use Bound::{Compute, MemoryBandwidth, Overhead};
    &[
        ("llama-3.1-8b-bf16", "decode_c1", MemoryBandwidth, Open),
        ("llama-3.1-8b-bf16", "decode_c8", MemoryBandwidth, Open),
        ("llama-3.1-8b-bf16", "prefill_c8", Compute, TokenBudget),
        ("qwen2.5-0.5b-bf16", "decode_c1", Overhead, Open),
        ("qwen2.5-0.5b-bf16", "decode_c64", Overhead, Open),
        ("qwen2.5-0.5b-bf16", "decode_c256", Overhead, Open),
        ("llama-2-7b-awq", "decode_c8", Overhead, Open),
        ("llama-2-7b-awq", "queue_c32", Overhead, MaxNumSeqs),
        ("llama-3.1-8b-fp8kv", "decode_c8", MemoryBandwidth, Open),
        ("llama-3.1-8b-fp8kv", "prefill_c8", Compute, TokenBudget),
        ("qwen3-moe-24l-bf16", "decode_c16", MemoryBandwidth, Open),
        ("gemma-3-4b-bf16", "decode_c8", MemoryBandwidth, Open),
        ("gemma-3-4b-bf16", "prefill_c8", Compute, TokenBudget),
        ("llama-3.1-8b-fp8", "decode_c8", MemoryBandwidth, Open),
        ("llama-3.1-8b-fp8", "decode_c128", MemoryBandwidth, Open),
        ("llama-3.1-8b-fp8", "prefill_c8", Compute, TokenBudget),
        ("qwen3-moe-24l-bf16", "decode_c256", MemoryBandwidth, Open),
        (
            "llama-3.1-8b-kv-starved",
            "starved_c128",
            MemoryBandwidth,
            KvCapacity,
        ),
    ]
};

#[test]
fn bounds_are_what_the_loads_make_them() {
    for &(capture, name, bound, admission) in BOUNDS {
        let found = phase(capture, name);
        let seen = (found.bound, found.admission);
        assert_eq!(seen, (bound, admission), "{capture} {name}");
    }
    let prefill = phase("llama-3.1-8b-bf16", "prefill_c8");
    assert!(prefill.power_limited_ratio.unwrap() > 0.9);
    let starved = phase("llama-3.1-8b-kv-starved", "starved_c128");
    assert!(
        starved
            .caveats
            .iter()
            .any(|caveat| caveat.contains("preempted"))
    );
}

#[test]
fn a_shared_prefix_is_attended_to_by_all_and_read_once() {
    let prefix = phase("llama-3.1-8b-bf16", "prefix_c32");
    // 4,096 prompt tokens, 3,840 of them shared, and on average half of 64 output tokens.
    assert!(
        (prefix.context_tokens.unwrap() / 4128.0 - 1.0).abs() < 0.02,
        "{:?}",
        prefix.context_tokens
    );
    let kv = prefix.hbm_bytes_by_kind.unwrap().kv;
    let apart = prefix.decode_tokens * 4128.0 * 131_072.0;
    assert!(
        kv.0 < apart * 0.3,
        "{:.2} of what unshared reads would be",
        kv.0 / apart
    );
}

#[test]
fn the_components_of_time_add_up_to_wall_time() {
    for (capture, replay) in &*REPLAYS {
        for window in replay.windows.iter().chain(&replay.phases) {
            let time = window.time_seconds.unwrap();
            let parts: f64 = time.components().iter().map(|(_, part)| part.0).sum();
            assert!(
                (parts / window.seconds.0 - 1.0).abs() < 0.01,
                "{capture}: {window:?}"
            );
            assert!(
                time.components().iter().all(|(_, part)| part.0 >= 0.0),
                "{capture}: {time:?}"
            );
        }
    }
}

#[test]
fn nothing_lies_above_the_roof() {
    for (capture, replay) in &*REPLAYS {
        for window in replay.windows.iter().chain(&replay.phases) {
            let place = format!("{capture} {:?} at {}", window.name, window.t_start.0);
            assert!(window.mfu.unwrap() <= 1.0, "{place}");
            assert!(window.mbu.unwrap() <= 1.0, "{place}");
            both_below_the_roof(window, peak(capture), &place);
        }
    }
}

/// In windows of one tick, prompts that are counted late have the largest effect.
#[test]
fn nothing_lies_above_the_roof_in_a_single_tick() {
    let settings = Settings {
        window: "1s".parse().unwrap(),
        ..Settings::defaults().unwrap()
    };
    for (name, capture) in captures() {
        let replay = replay::replay(&capture, &settings).unwrap();
        for window in &replay.windows {
            both_below_the_roof(
                window,
                peak(&name),
                &format!("{name} at {}", window.t_start.0),
            );
        }
    }
}

fn both_below_the_roof(window: &Figures, peak: f64, place: &str) {
    below_the_roof(&window.by_phase.prefill, peak, place);
    below_the_roof(&window.by_phase.decode, peak, place);
}

fn below_the_roof(point: &PhaseFigures, peak: f64, place: &str) {
    let Some((height, intensity)) = point.flops_per_busy_second.zip(point.arithmetic_intensity)
    else {
        return;
    };
    let roof = peak.min(BUS * intensity);
    assert!(
        height <= roof * 1.001,
        "{place}: {:.3} of the roof",
        height / roof
    );
}

#[test]
fn a_full_cache_is_the_first_finding_and_more_memory_the_first_remedy() {
    let starved = phase("llama-3.1-8b-kv-starved", "starved_c128");
    let [first, second, ..] = starved.verdict.as_slice() else {
        panic!("{:?}", starved.verdict);
    };
    assert_eq!(first.id, FindingKind::KvCapacity);
    assert_eq!(first.severity, Severity::Critical);
    assert!(
        first.finding.starts_with("The KV cache is full"),
        "{}",
        first.finding
    );
    assert_eq!(second.id, FindingKind::MemoryBandwidth);
    let ways: Vec<_> = first
        .remedies
        .iter()
        .map(|remedy| (remedy.id, remedy.free))
        .collect();
    assert_eq!(ways[0], (RemedyKind::MemoryUtilization, true), "{ways:?}");
    assert!(ways.is_sorted_by_key(|(_, free)| !free), "{ways:?}");
    for remedy in &first.remedies {
        let rate = remedy.predicted.output_tokens_per_second.unwrap();
        assert!(
            rate > starved.output_tokens_per_second.unwrap(),
            "{remedy:?}"
        );
    }
    let ttft = first.remedies[0].predicted.ttft_seconds.unwrap();
    assert!(ttft < 0.2 * starved.ttft_mean_seconds.unwrap(), "{ttft}");
}

#[test]
fn a_percentile_is_given_where_its_bucket_resolves_it() {
    for (name, capture) in captures() {
        for figures in &replay::replay(&capture, &Settings::defaults().unwrap())
            .unwrap()
            .phases
        {
            let place = format!("{name} {}", named(figures));
            if let Some([low, high]) = figures.tpot_p50_between_seconds {
                assert_eq!(figures.tpot_p50_seconds, None, "{place}");
                let mean = figures.tpot_mean_seconds.unwrap();
                assert!(
                    low < high && high <= 2.0 * mean + 1e-12,
                    "{place}: {low} {high} {mean}"
                );
            }
        }
    }
}

/// The 0.5B model's recording with the 8B model's config: sixteen times the bytes in the same time.
#[test]
fn a_wrong_model_is_impossible() {
    let mut settings = Settings::defaults().unwrap();
    let wrong = "tests/fixtures/captures/llama-3.1-8b-bf16/config.json";
    settings.deployment.model = Some(wrong.to_owned());
    let directory = PathBuf::from("tests/fixtures/captures/qwen2.5-0.5b-bf16");
    let replay = replay::replay(&Capture::open(&directory).unwrap(), &settings).unwrap();
    let decode = &replay.phases[0];
    assert_eq!(named(decode), "decode_c1");
    assert!(decode.impossible.unwrap().memory);
    let mentions = |caveat: &&str| caveat.contains("differs from what the exporter assumes");
    assert!(decode.caveats.iter().any(mentions), "{:?}", decode.caveats);
    let right = phase("qwen2.5-0.5b-bf16", "decode_c1");
    assert!(!right.impossible.unwrap().memory && !right.impossible.unwrap().compute);
}
