//! Several GPUs as one engine: when the traffic between them is the bound, and when not. There is no recording of such an engine, so these
//! are the loads of a recorded engine with one GPU, as if distributed over several ranks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use roofline::bound::Bound;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::command::replay::{Replay, replay};
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::meter::figures::Figures;

const RECORDED: &str = "tests/fixtures/captures/llama-3.1-8b-bf16";

/// The recorded counters of vLLM, as of an engine over `ranks` of `gpu`. The GPU's own counters are left out: they belong to another setup.
fn over(gpu: &str, ranks: u64) -> Replay {
    let directory = tempfile::tempdir().unwrap();
    for file in ["capture.json", "config.json", "vllm.jsonl.gz"] {
        let from = std::path::Path::new(RECORDED).join(file);
        std::fs::copy(from, directory.path().join(file)).unwrap();
    }
    let mut settings = Settings::defaults().unwrap();
    settings.gpu = Some(gpu.to_owned());
    settings.deployment.tensor_parallel_size = Some(ranks);
    replay(&Capture::open(directory.path()).unwrap(), &settings).unwrap()
}

fn phase(replay: Replay, name: &str) -> Figures {
    let mut phases = replay.phases.into_iter();
    phases
        .find(|phase| phase.name.as_deref() == Some(name))
        .unwrap()
}

#[test]
fn prompts_over_pcie_are_bound_by_it_and_over_nvlink_are_not() {
    for (gpu, bound) in [("L40S", true), ("A100-80GB-SXM", false), ("H100", false)] {
        let prefill = phase(over(gpu, 4), "prefill_c8");
        assert_eq!(prefill.bound == Bound::Interconnect, bound, "{gpu}");
    }
}

#[test]
fn a_small_decode_batch_is_not_bound_by_the_interconnect() {
    for gpu in ["L40S", "H100"] {
        assert_ne!(phase(over(gpu, 4), "decode_c8").bound, Bound::Interconnect);
    }
}

/// 2 all-reduces per layer and one for the embedding, each of tokens × hidden × 2 bytes, 2 (t − 1) / t of which cross a link in a ring; and
/// the logits of each output token, gathered once per step.
#[test]
fn what_is_sent_follows_the_shapes() {
    for ranks in [2, 8] {
        let prefill = phase(over("H100", ranks), "prefill_c8");
        let ring = 2.0 * (ranks - 1) as f64 / ranks as f64;
        let reduced = prefill.prefill_tokens * 4096.0 * 2.0 * 65.0 * ring * ranks as f64;
        let modelled = prefill.interconnect_bytes.unwrap().0;
        assert!(
            (modelled / reduced - 1.0).abs() < 0.01,
            "{modelled} for {reduced}"
        );
        assert_eq!(prefill.interconnect_bytes_measured, None);
    }
    let alone = phase(over("H100", 1), "prefill_c8");
    assert_eq!(alone.interconnect_bytes, None);
}
