//! The load generator at 512 concurrent streams, against a server with known timing: compares the client's measurements with the server's.
//! Both share this machine, so the server's own delays are printed too.
//!
//! `cargo bench --bench load -- [streams] [gap in ms]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program that prints"
)]

#[path = "../tests/support/openai.rs"]
mod openai;

use std::future::pending;
use std::time::Duration;

use loadtest::load::client::client_builder;
use loadtest::load::prompt::{PromptSource, Synthetic};
use loadtest::load::run::Api;
use loadtest::load::settings::{Arrivals, LengthDistribution, RunLimit};
use loadtest::load::{self, LoadRun, LoadSettings};
use openai::{Answer, Server};
use roofline::statistics::quantile_of;
use vllm_roofline_exporter::command::serve::block_on;

const OUTPUT: u32 = 100;
const ROUNDS: u32 = 3;

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<u32>().ok());
    let streams = numbers.next().unwrap_or(512);
    let gap = Duration::from_millis(numbers.next().unwrap_or(50).into());
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = Server::start(move |_| Answer::Tokens { first: gap, gap }).await;
            sender.send((server.url(), server.log.clone())).unwrap();
            pending::<()>().await;
        });
    });
    let (url, log) = receiver.recv().unwrap();
    let settings = settings(&url, streams);
    let run = block_on(async { Ok(load::run(&settings, pending(), |_| {}).await?) }).unwrap();
    let server = log.gaps.lock().unwrap();
    // Only the server's log contains the warm-up.
    print(
        &run,
        &server[(OUTPUT as usize - 1) * settings.warmup_requests as usize..],
        gap,
    );
}

fn settings(url: &str, streams: u32) -> LoadSettings {
    vllm_roofline_exporter::crypto::install();
    LoadSettings {
        url: format!("{url}/").parse().unwrap(),
        shown_url: String::new(),
        http: client_builder().tls_certs_only([]).build().unwrap(),
        authorization: None,
        api: Api::Completions,
        model: None,
        arrivals: Arrivals::Closed {
            concurrency: streams,
        },
        limit: RunLimit {
            requests: Some(streams * ROUNDS),
            duration: None,
        },
        grace: Duration::ZERO,
        request_timeout: Duration::from_mins(2),
        give_up_after: Duration::from_secs(5),
        warmup_requests: 1,
        prompts: PromptSource::Synthetic(Synthetic {
            input: LengthDistribution::Fixed(512),
            output: LengthDistribution::Fixed(OUTPUT),
            prefix_len: 0,
            prefixes: 1,
        }),
        respect_eos: false,
        extra_body: serde_json::Map::new(),
        seed: 1,
    }
}

fn print(run: &LoadRun, server: &[f64], gap: Duration) {
    let seen: Vec<f64> = run
        .answered()
        .flat_map(|request| request.itl_seconds.iter().copied())
        .collect();
    let tokens: u32 = run.answered().map(|request| request.output_tokens).sum();
    println!(
        "{} requests, {} failed, {tokens} tokens of {}, {:.0} tokens/s, due every {gap:?} in each stream",
        run.completed,
        run.failed,
        run.completed * OUTPUT,
        run.output_tokens_per_second(),
    );
    println!("gaps between tokens    server wrote    client saw");
    for q in [0.01, 0.5, 0.9, 0.99, 0.999] {
        let [wrote, saw] = [server, &seen]
            .map(|gaps| 1e3 * quantile_of(gaps.iter().copied(), q).unwrap_or(f64::NAN));
        println!("  p{:<6} {wrote:>22.3} ms {saw:>10.3} ms", q * 100.0);
    }
    println!(
        "client and server used {:.2} s of CPU in {:.2} s; events waited {:.2} ms at the 99th percentile",
        run.client.cpu_seconds,
        run.duration_seconds,
        run.client.event_lag_p99_seconds * 1e3,
    );
}
