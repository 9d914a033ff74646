//! `check`: what is found of vLLM, the model and the GPUs, and what is missing.

use std::io::Write;

use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use crate::sample::engine::{Counter, EngineTotals, Gauge};
use crate::sampler::{Sampler, now};
use crate::source::vllm::VllmSource;

use super::output::{Format, table, write_json, write_table};
use super::serve;
use super::usage::UsageError;

/// Arguments of `check`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Settings of `serve`.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// One thing that was looked for.
#[derive(Debug, serde::Serialize)]
struct Finding {
    what: String,
    found: bool,
    note: String,
}

/// Checks the settings and looks at every source once.
///
/// # Errors
/// Wrong settings; vLLM out of reach.
pub fn run(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings)?;
    serve::check(&settings)?;
    let gpu = serve::gpu_source(&settings)?;
    let gpu_table = serve::gpu_table(&settings)?;
    let (findings, reached) = serve::block_on(async move {
        let timeout = settings.tick.0.mul_f64(0.9);
        let key = settings.vllm_api_key_file.clone();
        let vllm = VllmSource::new(&settings.vllm_url, key, timeout).map_err(UsageError::of)?;
        let (mut sampler, _) = Sampler::new(settings, gpu_table, gpu).map_err(UsageError::of)?;
        Ok(match vllm.read_whole(now).await {
            Ok(reading) => {
                let mut findings = of_page(&reading.engines);
                findings.extend(of_facts(&mut sampler, &reading.engines).await);
                (findings, true)
            }
            Err(error) => (vec![finding("vLLM", false, error.to_string())], false),
        })
    })?;
    match args.format {
        Format::Json => write_json(&serde_json::json!({"schema": 1, "findings": findings}), out)?,
        Format::Table => {
            let mut rows = table(["what", "found", "note"]);
            for Finding { what, found, note } in &findings {
                rows.add_row([
                    what.as_str(),
                    if *found { "yes" } else { "no" },
                    note.as_str(),
                ]);
            }
            write_table(&rows, out)?;
        }
    }
    anyhow::ensure!(reached, "vLLM cannot be read");
    Ok(())
}

fn finding(what: impl Into<String>, found: bool, note: impl Into<String>) -> Finding {
    Finding {
        what: what.into(),
        found,
        note: note.into(),
    }
}

/// Which of vLLM's families are there.
fn of_page(engines: &[EngineTotals]) -> Vec<Finding> {
    let mut findings = vec![finding(
        "vLLM",
        true,
        format!("{} engine(s)", engines.len()),
    )];
    let Some(engine) = engines.first() else {
        return findings;
    };
    for &counter in Counter::ALL {
        let value = engine.counters.get(counter);
        findings.push(finding(
            format!("counter {counter:?}"),
            value.is_some(),
            told(value),
        ));
    }
    for &gauge in Gauge::ALL {
        let value = engine.gauges.get(gauge);
        findings.push(finding(
            format!("gauge {gauge:?}"),
            value.is_some(),
            told(value),
        ));
    }
    let capacity = engine.kv_capacity_tokens();
    findings.push(finding("KV capacity", capacity.is_some(), told(capacity)));
    findings
}

fn told(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// What is known of each engine's model, deployment and GPU, and what is not.
async fn of_facts(sampler: &mut Sampler, engines: &[EngineTotals]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for facts in sampler.facts_of(engines).await {
        let known = facts
            .origins
            .iter()
            .map(|(fact, origin)| finding(*fact, true, origin.as_str()));
        findings.extend(known);
        let missing = facts
            .missing
            .iter()
            .map(|missing| finding(missing.fact, false, missing.why.as_str()));
        findings.extend(missing);
    }
    findings
}
