//! What the running exporter costs, beside a bare axum server that answers with the same page: `GET /metrics` at 1,000 requests a
//! second (budget: the 99th percentile within 1.3× of the bare server's), and CPU time and memory at a 1 s tick, scraped once a second
//! (budget: 0.1 % of a core, 10 MiB; with NVML loaded 0.3 % more for each GPU, 20 MiB).
//!
//! NVML is the tests' made-up library: this is what the exporter itself adds to a reading. A real driver's own calls come on top.
//!
//! Both are processes of their own; the exporter scrapes the demo's recorded vLLM, which is a third one.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "made for tests"
)]
#[path = "../tests/gpus/fake.rs"]
mod fake;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use tokio::time::{Instant, interval, sleep};

use fake::FakeNvml;

const EXPORTER: &str = env!("CARGO_BIN_EXE_vllm-roofline-exporter");
/// How long requests are sent, and how long the steady state is watched.
const LOAD: Duration = Duration::from_secs(10);
const STEADY: Duration = Duration::from_secs(40);
/// Says that this process is the bare server.
const BARE: &str = "--bare";

/// A server under test, ended with the benchmark.
struct Server {
    name: &'static str,
    process: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts `command`, which says on stderr where it serves behind `says`.
    fn start(name: &'static str, command: &mut Command, says: &str) -> anyhow::Result<Self> {
        let mut process = command.stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(process.stderr.take().context("no stderr")?).lines();
        let url = loop {
            let line = lines.next().with_context(|| format!("{name} ended"))??;
            if let Some((_, rest)) = line.split_once(says) {
                let address = rest.split_whitespace().next().unwrap_or_default();
                break format!("{}/metrics", address.trim_end_matches("/metrics"));
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { name, process, url })
    }

    /// CPU time so far and memory in use, from /proc.
    fn usage(&self) -> anyhow::Result<(Duration, f64)> {
        let id = self.process.id();
        // Nanoseconds on a core, which the tick counters of `stat` would round to hundredths of a second.
        let mut busy = 0;
        for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
            let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            busy += schedstat
                .split(' ')
                .next()
                .unwrap_or_default()
                .parse::<u64>()?;
        }
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let rss = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: f64 = rss.trim().trim_end_matches(" kB").parse()?;
        Ok((Duration::from_nanos(busy), kib / 1024.0))
    }
}

/// The bare server: one page, nothing else.
async fn bare() -> anyhow::Result<()> {
    let page = std::env::args().nth(2).unwrap_or_default();
    let page = axum::body::Bytes::from(std::fs::read(page)?);
    let app = Router::new().route("/metrics", get(|| async move { page }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("serving on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// Latencies of `GET url` at 1,000 requests a second, sorted.
async fn latencies(client: &reqwest::Client, url: &str) -> anyhow::Result<Vec<Duration>> {
    let mut ticks = interval(Duration::from_millis(1));
    let mut requests = Vec::new();
    let started = Instant::now();
    while started.elapsed() < LOAD {
        ticks.tick().await;
        let request = client.get(url).send();
        requests.push(tokio::spawn(async move {
            let sent = Instant::now();
            let answer = request.await?.error_for_status()?;
            answer.bytes().await?;
            Ok::<_, reqwest::Error>(sent.elapsed())
        }));
    }
    let mut latencies = Vec::with_capacity(requests.len());
    for request in requests {
        latencies.push(request.await??);
    }
    latencies.sort();
    Ok(latencies)
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index within the slice"
    )]
    let place = ((sorted.len() - 1) as f64 * share) as usize;
    sorted[place].as_secs_f64() * 1e3
}

/// The exporter called `name` beside the demo's recorded vLLM.
fn exporter(
    demo: &Server,
    name: &'static str,
    gpus: &[&str],
    environment: &[(&str, String)],
) -> anyhow::Result<Server> {
    let vllm = demo.url.trim_end_matches("/metrics");
    let mut command = Command::new(EXPORTER);
    command
        .args(["serve", "--vllm-url", vllm])
        .args(["--model", "config/demo/config.json"])
        .args(["--web.listen-address", "127.0.0.1:0"])
        .args(gpus)
        .envs(environment.iter().map(|(name, value)| (name, value)));
    Server::start(name, &mut command, "serving on ")
}

async fn compare_latencies(client: &reqwest::Client, servers: [&Server; 2]) -> anyhow::Result<()> {
    for server in servers.into_iter().chain(servers) {
        let sorted = latencies(client, &server.url).await?;
        println!(
            "GET /metrics at 1,000/s, {:9}: {} requests, p50 {:.3} ms, p99 {:.3} ms",
            server.name,
            sorted.len(),
            percentile(&sorted, 0.5),
            percentile(&sorted, 0.99)
        );
    }
    Ok(())
}

async fn compare_steady_state(client: &reqwest::Client, servers: &[&Server]) -> anyhow::Result<()> {
    let mut before = Vec::new();
    for server in servers {
        before.push(server.usage()?.0);
    }
    let mut ticks = interval(Duration::from_secs(1));
    let started = Instant::now();
    while started.elapsed() < STEADY {
        ticks.tick().await;
        for server in servers {
            client.get(&server.url).send().await?.bytes().await?;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    for (server, before) in servers.iter().zip(before) {
        let (busy, rss) = server.usage()?;
        println!(
            "scraped once a second, {:16}: {:.3} % of a core, {rss:.1} MiB resident",
            server.name,
            (busy - before).as_secs_f64() / seconds * 100.0
        );
    }
    Ok(())
}

async fn compare() -> anyhow::Result<()> {
    let mut demo = Command::new(EXPORTER);
    demo.args(["demo", "--web.listen-address", "127.0.0.1:0"]);
    let demo = Server::start("demo", &mut demo, "recorded vLLM at ")?;
    let without = ["--gpu", "H100", "--gpu-source", "none"];
    let alone = exporter(&demo, "exporter", &without, &[])?;
    let drivers = [FakeNvml::with("count 1"), FakeNvml::with("count 8")];
    let one = exporter(&demo, "with one GPU", &[], &drivers[0].environment())?;
    let parallel = ["--tensor-parallel-size", "8"];
    let eight = exporter(
        &demo,
        "with eight GPUs",
        &parallel,
        &drivers[1].environment(),
    )?;
    // Until windows are full and pages have everything.
    sleep(Duration::from_secs(12)).await;
    vllm_roofline_exporter::crypto::install();
    // Unpacking would be the client's time, and the bare server does not pack.
    let client = reqwest::Client::builder().no_gzip().build()?;
    let page = client.get(&alone.url).send().await?.bytes().await?;
    let lines = page.split(|&byte| byte == b'\n').count();
    println!("page: {} bytes, {lines} lines", page.len());

    let file = std::env::temp_dir().join(format!("bare-{}.prom", std::process::id()));
    std::fs::write(&file, &page)?;
    let mut bare = Command::new(std::env::current_exe()?);
    let bare = Server::start("bare axum", bare.arg(BARE).arg(&file), "serving on ")?;
    compare_latencies(&client, [&bare, &alone]).await?;
    compare_steady_state(&client, &[&bare, &alone, &one, &eight]).await?;
    std::fs::remove_file(file)?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if std::env::args().any(|argument| argument == BARE) {
        bare().await
    } else {
        compare().await
    }
}
