//! Compares the running exporter with others: `GET /metrics` at 1,000 requests per second against a bare axum server with the same page,
//! and CPU time and memory at a 1 s tick, scraped once per second. The budgets are in `benches/table.py`.
//!
//! Every server is a separate process, including the demo's recorded vLLM, which the exporter scrapes. NVML is the tests' fake library:
//! this measures the exporter's own share of a reading, without a real driver's calls. `NODE_EXPORTER` is the path of that program,
//! `PYTHON` an interpreter with `prometheus_client`; a missing one is reported.

use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use tokio::time::sleep;

use crate::fake::FakeNvml;
use crate::server::Server;
use crate::{BARE, compare};

/// The program, built in the same directory.
fn exporter_command() -> anyhow::Result<Command> {
    let own = std::env::current_exe()?;
    let built = own.ancestors().nth(2).context("a target directory")?;
    Ok(Command::new(built.join("vllm-roofline-exporter")))
}

/// The bare server: one page, nothing else.
pub(crate) async fn bare(page: &str) -> anyhow::Result<()> {
    let page = axum::body::Bytes::from(std::fs::read(page)?);
    let app = Router::new().route("/metrics", get(|| async move { page }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("serving on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// The exporter called `name`, reading the demo's recorded vLLM.
fn exporter(
    demo: &Server,
    name: &'static str,
    gpus: &[&str],
    environment: &[(&str, String)],
) -> anyhow::Result<Server> {
    let vllm = demo.url.trim_end_matches("/metrics");
    let mut command = exporter_command()?;
    command
        .args(["serve", "--vllm-url", vllm])
        .args(["--model", "config/demo/config.json"])
        .args(["--web.listen-address", "127.0.0.1:0"])
        .args(gpus)
        .envs(environment.iter().map(|(name, value)| (name, value)));
    Server::start(name, &mut command, "serving on ")
}

/// The available peers, which are scraped once per second.
fn peers(demo: &Server) -> Vec<Server> {
    let node_exporter = program("NODE_EXPORTER").map(|mut program| {
        program.arg("--web.listen-address=127.0.0.1:0");
        Server::start("node_exporter", &mut program, "address=")
    });
    let sidecar = program("PYTHON").map(|mut program| {
        program.args(["benches/peers/sidecar.py", &demo.url]);
        Server::start("Python sidecar", &mut program, "serving on ")
    });
    let mut found = Vec::new();
    for (name, peer) in [
        ("node_exporter", node_exporter),
        ("Python sidecar", sidecar),
    ] {
        match peer {
            Some(Ok(server)) => found.push(server),
            Some(Err(error)) => println!("missing, {name}\t{error:#}"),
            None => println!("missing, {name}\tbenches/run.sh fetches it"),
        }
    }
    found
}

/// A program whose path the fetching script sets in a variable.
fn program(variable: &str) -> Option<Command> {
    std::env::var(variable).ok().map(Command::new)
}

/// Starts all of them and compares.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut demo = exporter_command()?;
    demo.args(["demo", "--web.listen-address", "127.0.0.1:0"]);
    let demo = Server::start("demo", &mut demo, "recorded vLLM at ")?;
    let without = ["--gpu", "H100", "--gpu-source", "none"];
    let alone = exporter(&demo, "ours", &without, &[])?;
    let drivers = [FakeNvml::with("count 1"), FakeNvml::with("count 8")];
    let one = exporter(&demo, "ours, 1 GPU", &[], &drivers[0].environment())?;
    let parallel = ["--tensor-parallel-size", "8"];
    let eight = exporter(&demo, "ours, 8 GPUs", &parallel, &drivers[1].environment())?;
    let peers = peers(&demo);
    // Until windows are full and the pages complete.
    sleep(Duration::from_secs(12)).await;
    vllm_roofline_exporter::crypto::install();
    // Decompression would count as the client's time, and the bare server does not compress.
    let client = reqwest::Client::builder().no_gzip().build()?;
    let page = client.get(&alone.url).send().await?.bytes().await?;
    println!("page\t{}\tbytes", page.len());

    let file = std::env::temp_dir().join(format!("bare-{}.prom", std::process::id()));
    std::fs::write(&file, &page)?;
    let mut bare = Command::new(std::env::current_exe()?);
    let bare = Server::start("bare axum", bare.arg(BARE).arg(&file), "serving on ")?;
    std::fs::remove_file(file)?;
    let mut all = vec![&bare, &alone, &one, &eight];
    all.extend(&peers);
    compare::steady_state(&client, &all).await?;
    compare::latencies(&client, &[&bare, &alone]).await
}
