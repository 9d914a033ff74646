//! Measures the cost of a scrape for vLLM: its whole page, and only the needed samples. `VLLM_URL` is an idle vLLM; the two variants take
//! turns. Its event loop renders the page without other work in between, so the response time is the cost.

use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::{Client, Url};
use vllm_roofline_exporter::sample::page::needed_names;

const ROUNDS: usize = 100;
/// Pause between two scrapes, in which vLLM can do other work.
const PAUSE: Duration = Duration::from_millis(20);

/// Times both, if there is a vLLM.
pub(crate) async fn run() -> anyhow::Result<()> {
    let Ok(base) = std::env::var("VLLM_URL") else {
        println!("missing, vLLM\tVLLM_URL names none");
        return Ok(());
    };
    let whole: Url = format!("{}/metrics", base.trim_end_matches('/'))
        .parse()
        .context("VLLM_URL")?;
    let mut filtered: Url = format!("{whole}/").parse()?;
    filtered
        .query_pairs_mut()
        .extend_pairs(needed_names(true).iter().map(|name| ("name[]", name)));
    vllm_roofline_exporter::crypto::install();
    let client = Client::builder().no_gzip().build()?;
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (url, took) in [&whole, &filtered].into_iter().zip(&mut took) {
            let sent = Instant::now();
            let answer = client.get(url.clone()).send().await?.error_for_status()?;
            answer.bytes().await?;
            took.push(sent.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(PAUSE).await;
        }
    }
    for (name, mut took) in ["whole", "needed"].into_iter().zip(took) {
        took.sort_by(f64::total_cmp);
        println!("scrape, {name}\t{:.3}\tms", took[ROUNDS / 2]);
    }
    Ok(())
}
