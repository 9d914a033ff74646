//! Expected times against published runs of vLLM that others measured, by tensor-parallel degree, kind of model and GPU.
//!
//! The coefficients were fitted to these runs, so this guards what the fit reached; `docs/prediction.md` has the cross-validation.
//! `cargo test -p roofline --test published_runs -- --nocapture` prints the table.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic, and prints its table"
)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use roofline::cost::coefficients::Coefficients;
use roofline::predict::{Latency, Predictor, Serving};
use roofline::spec::deployment::{Deployment, DeploymentFlags};
use roofline::spec::gpu::GpuTable;
use roofline::spec::model::ModelSpec;
use serde_json::Value;

/// One run: how it was served, and what was measured.
struct Run {
    model: String,
    gpu: String,
    flags: DeploymentFlags,
    serving: Serving,
    ttft_seconds: f64,
    tpot_seconds: f64,
}

/// The run's expected values over the measured ones, less 1.
struct Scored {
    run: Run,
    latency: Latency,
    ttft: f64,
    tpot: f64,
}

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/published-runs.json")).expect("JSON")
}

fn runs(fixture: &Value) -> Vec<Run> {
    let names: Vec<&str> = fixture["columns"]
        .as_array()
        .expect("columns")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let rows = fixture["rows"].as_array().expect("rows");
    let run = |row: &Value| {
        let field = |name: &str| {
            let column = names.iter().position(|known| *known == name);
            &row[column.expect("a column")]
        };
        let number = |name: &str| field(name).as_f64().expect("a number");
        let text = |name: &str| field(name).as_str().expect("text").to_owned();
        Run {
            model: text("model"),
            gpu: text("gpu"),
            flags: DeploymentFlags {
                kv_cache_dtype: Some(text("kv_cache_dtype")),
                tensor_parallel_size: field("tp").as_u64(),
                data_parallel_size: field("dp").as_u64(),
                enable_expert_parallel: number("ep") > 1.0,
                max_model_len: field("max_model_len").as_u64(),
                max_num_seqs: field("max_num_seqs").as_u64(),
                max_num_batched_tokens: field("max_num_batched_tokens").as_u64(),
                gpu_memory_utilization: field("gpu_memory_utilization").as_f64(),
                ..DeploymentFlags::default()
            },
            serving: Serving {
                input_tokens: number("input_len_mean"),
                output_tokens: number("output_len_mean"),
                batch: number("concurrency") / number("dp"),
                ..Serving::default()
            },
            ttft_seconds: number("ttft_ms") / 1e3,
            tpot_seconds: number("tpot_ms") / 1e3,
        }
    };
    rows.iter().map(run).collect()
}

static SCORED: LazyLock<Vec<Scored>> = LazyLock::new(|| {
    let fixture = fixture();
    let table = GpuTable::embedded().expect("parses");
    let mut models: BTreeMap<String, ModelSpec> = BTreeMap::new();
    let score = |run: Run| {
        let model = models.entry(run.model.clone()).or_insert_with(|| {
            ModelSpec::from_config(&fixture["configs"][&run.model]).expect("complete")
        });
        let gpu = table.find(&run.gpu).expect("known").clone();
        let deployment =
            Deployment::new(model.clone(), Some(gpu), &run.flags).expect("not refused");
        let latency = Predictor::new(deployment, Coefficients::default())
            .latency(&run.serving)
            .expect("fits");
        Scored {
            ttft: latency.ttft_expected_seconds.0 / run.ttft_seconds - 1.0,
            tpot: latency.tpot_expected_seconds.0 / run.tpot_seconds - 1.0,
            latency,
            run,
        }
    };
    runs(&fixture).into_iter().map(score).collect()
});

/// Mean and median of the absolute errors, and their bias, in percent.
fn summary(errors: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let errors: Vec<f64> = errors.map(|error| error * 100.0).collect();
    let count = f64::from(u32::try_from(errors.len()).expect("few"));
    let mut sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    (
        sizes.iter().sum::<f64>() / count,
        sizes[sizes.len() / 2],
        errors.iter().sum::<f64>() / count,
    )
}

fn kind(run: &Run) -> &'static str {
    match run.model.as_str() {
        model if model.contains("Kimi") => "MLA and MoE",
        model if model.contains("MiniMax") || model.contains("gpt-oss") => "MoE",
        _ => "dense",
    }
}

#[test]
fn expected_times_meet_published_runs() {
    let all = &*SCORED;
    let mut groups: BTreeMap<String, Vec<&Scored>> = BTreeMap::new();
    for scored in all {
        let tensor = scored.run.flags.tensor_parallel_size.unwrap_or(1);
        for name in [
            format!("TP {tensor}"),
            kind(&scored.run).to_owned(),
            scored.run.gpu.clone(),
            format!("{} on {}", scored.run.model, scored.run.gpu),
        ] {
            groups.entry(name).or_default().push(scored);
        }
    }
    println!(
        "{:50} runs  TPOT mean median bias   TTFT mean median bias",
        ""
    );
    for (name, group) in &groups {
        let (tpot, ttft) = (
            summary(group.iter().map(|scored| scored.tpot)),
            summary(group.iter().map(|scored| scored.ttft)),
        );
        println!(
            "{name:50} {:4}  {:9.1} {:6.1} {:+5.1} {:10.1} {:6.1} {:+5.1}",
            group.len(),
            tpot.0,
            tpot.1,
            tpot.2,
            ttft.0,
            ttft.1,
            ttft.2
        );
        if !name.contains(" on ") {
            assert!(
                tpot.2.abs() <= 5.0,
                "{name}: TPOT is off by {:+.1} % on average",
                tpot.2
            );
        }
    }
    let (mean, median, bias) = summary(all.iter().map(|scored| scored.tpot));
    let (ttft_mean, ttft_median, ttft_bias) = summary(all.iter().map(|scored| scored.ttft));
    println!(
        "all: TPOT {mean:.1} {median:.1} {bias:+.1}, TTFT {ttft_mean:.1} {ttft_median:.1} {ttft_bias:+.1}"
    );
    assert!(
        mean <= 6.0 && median <= 4.0,
        "TPOT: mean {mean:.1} %, median {median:.1} %"
    );
    assert!(ttft_mean <= 15.0, "TTFT: mean {ttft_mean:.1} %");
}

#[test]
fn no_run_beats_its_bounds() {
    for scored in &*SCORED {
        let Scored { run, latency, .. } = scored;
        let name = format!("{} on {}, {:?}", run.model, run.gpu, run.serving);
        assert!(
            latency.tpot_bound_seconds.0 <= run.tpot_seconds,
            "{name}: TPOT"
        );
        assert!(
            latency.ttft_bound_seconds.0 <= run.ttft_seconds,
            "{name}: TTFT"
        );
        assert!(
            latency.tpot_bound_seconds <= latency.tpot_expected_seconds,
            "{name}"
        );
        assert!(
            latency.ttft_bound_seconds <= latency.ttft_expected_seconds,
            "{name}"
        );
    }
}
