//! Published runs of vLLM, and the errors of their expected times.

#![expect(clippy::print_stdout, reason = "prints its table")]

use std::collections::BTreeMap;

use roofline::cost::coefficients::Coefficients;
use roofline::predict::{Latency, Predictor, Serving};
use roofline::spec::deployment::{Deployment, DeploymentFlags};
use roofline::spec::gpu::GpuTable;
use roofline::spec::model::ModelSpec;
use serde_json::Value;

/// One run: its deployment, and its measurements.
pub(crate) struct Run {
    pub(crate) model: String,
    pub(crate) gpu: String,
    pub(crate) flags: DeploymentFlags,
    pub(crate) serving: Serving,
    pub(crate) ttft_seconds: f64,
    pub(crate) tpot_seconds: f64,
}

/// A run's expected values divided by the measured ones, minus 1.
pub(crate) struct Scored {
    pub(crate) run: Run,
    pub(crate) latency: Latency,
    pub(crate) ttft: f64,
    pub(crate) tpot: f64,
}

/// The runs of `file`: `rows` under `columns`, or `points`, one object each.
pub(crate) fn runs(file: &Value) -> Vec<Run> {
    if let Some(points) = file["points"].as_array() {
        let of_point = |point: &Value| {
            run(&|name: &str| {
                let place = [
                    &point[name],
                    &point["serve"][name],
                    &point["measured"][name],
                ];
                place.into_iter().find(|value| !value.is_null()).cloned()
            })
        };
        return points.iter().map(of_point).collect();
    }
    let columns = file["columns"]
        .as_array()
        .expect("points, or rows under columns");
    let of_row = |row: &Value| {
        run(&|name: &str| {
            let column = columns.iter().position(|known| known == name);
            Some(row[column.expect("a column")].clone())
        })
    };
    file["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(of_row)
        .collect()
}

fn run(field: &dyn Fn(&str) -> Option<Value>) -> Run {
    let count = |name: &str| field(name).and_then(|value| value.as_u64());
    let number = |name: &str| field(name).and_then(|value| value.as_f64()).expect(name);
    let text = |name: &str| field(name).and_then(|value| value.as_str().map(str::to_owned));
    Run {
        model: text("model").expect("a model"),
        gpu: text("gpu").expect("a GPU"),
        flags: DeploymentFlags {
            kv_cache_dtype: text("kv_cache_dtype"),
            tensor_parallel_size: count("tp"),
            data_parallel_size: count("dp"),
            enable_expert_parallel: number("ep") > 1.0,
            max_model_len: count("max_model_len"),
            max_num_seqs: count("max_num_seqs"),
            max_num_batched_tokens: count("max_num_batched_tokens"),
            gpu_memory_utilization: field("gpu_memory_utilization")
                .and_then(|share| share.as_f64()),
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
}

/// The runs of `file`, whose `configs` hold their models, scored with `coefficients`.
pub(crate) fn score(file: &Value, coefficients: Coefficients) -> Vec<Scored> {
    let table = GpuTable::embedded().expect("parses");
    let mut models: BTreeMap<String, ModelSpec> = BTreeMap::new();
    let scored = |run: Run| {
        let model = models.entry(run.model.clone()).or_insert_with(|| {
            ModelSpec::from_config(&file["configs"][&run.model]).expect("complete")
        });
        let gpu = table.find(&run.gpu).expect("known").clone();
        let deployment =
            Deployment::new(model.clone(), Some(gpu), &run.flags).expect("not refused");
        let latency = Predictor::new(deployment, coefficients)
            .latency(&run.serving)
            .expect("fits");
        Scored {
            ttft: latency.ttft_expected_seconds.0 / run.ttft_seconds - 1.0,
            tpot: latency.tpot_expected_seconds.0 / run.tpot_seconds - 1.0,
            latency,
            run,
        }
    };
    runs(file).into_iter().map(scored).collect()
}

/// Values that exceed a bound: measured or expected.
pub(crate) fn violations(scored: &[Scored]) -> Vec<String> {
    let beats = |scored: &&Scored| {
        let Scored { run, latency, .. } = scored;
        let (tpot, ttft) = (latency.tpot_bound_seconds.0, latency.ttft_bound_seconds.0);
        tpot > run.tpot_seconds.min(latency.tpot_expected_seconds.0)
            || ttft > run.ttft_seconds.min(latency.ttft_expected_seconds.0)
    };
    let named = |scored: &Scored| {
        let Run {
            model,
            gpu,
            serving,
            ..
        } = &scored.run;
        format!("{model} on {gpu}, {serving:?}")
    };
    scored.iter().filter(beats).map(named).collect()
}

/// All runs, then by TP degree, kind of model, GPU, and model on GPU.
pub(crate) fn groups(scored: &[Scored]) -> Vec<(String, Vec<&Scored>)> {
    let mut groups: BTreeMap<String, Vec<&Scored>> = BTreeMap::new();
    for one in scored {
        let tensor = one.run.flags.tensor_parallel_size.unwrap_or(1);
        for name in [
            format!("TP {tensor}"),
            kind(&one.run).to_owned(),
            one.run.gpu.clone(),
            format!("{} on {}", one.run.model, one.run.gpu),
        ] {
            groups.entry(name).or_default().push(one);
        }
    }
    let all = ("all".to_owned(), scored.iter().collect());
    std::iter::once(all).chain(groups).collect()
}

fn kind(run: &Run) -> &'static str {
    match run.model.as_str() {
        latent
            if ["Kimi", "DeepSeek"]
                .iter()
                .any(|name| latent.contains(name)) =>
        {
            "MLA and MoE"
        }
        experts
            if ["MiniMax", "gpt-oss", "A3B", "A22B"]
                .iter()
                .any(|name| experts.contains(name)) =>
        {
            "MoE"
        }
        _ => "dense",
    }
}

/// Errors of a group, in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errors {
    /// Mean of the absolute errors.
    pub(crate) mean: f64,
    /// Their median.
    pub(crate) median: f64,
    /// Mean of the errors.
    pub(crate) bias: f64,
}

impl Errors {
    pub(crate) fn of(errors: impl Iterator<Item = f64>) -> Self {
        let errors: Vec<f64> = errors.map(|error| error * 100.0).collect();
        let count = f64::from(u32::try_from(errors.len()).expect("few"));
        let mut sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        Self {
            mean: sizes.iter().sum::<f64>() / count,
            median: sizes[sizes.len() / 2],
            bias: errors.iter().sum::<f64>() / count,
        }
    }
}

/// Prints a line for each of `groups`.
pub(crate) fn print(groups: &[(String, Vec<&Scored>)]) {
    println!(
        "{:50} runs  TPOT mean median bias   TTFT mean median bias",
        ""
    );
    for (name, group) in groups {
        let tpot = Errors::of(group.iter().map(|scored| scored.tpot));
        let ttft = Errors::of(group.iter().map(|scored| scored.ttft));
        println!(
            "{name:50} {:4}  {:9.1} {:6.1} {:+5.1} {:10.1} {:6.1} {:+5.1}",
            group.len(),
            tpot.mean,
            tpot.median,
            tpot.bias,
            ttft.mean,
            ttft.median,
            ttft.bias
        );
    }
}
