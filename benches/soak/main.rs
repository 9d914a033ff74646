//! The soak: the real exporter beside a vLLM that plays recordings at twenty times their speed and fails in every way there is.
//!
//! `cargo bench --bench soak -- --minutes 60`. Each recording is one life of vLLM, and the next life serves another model. At both ends
//! of a life the page stands still until the exporter has read it, so what was counted in between is known whatever failed meanwhile:
//! tokens must be those of the pages to the last one, FLOPs and bytes those of `replay` over the same pages.
//!
//! With `--calm` nothing but restarts happens: what is left of the drift is none of the faults'.
//!
//! Printed: resident memory and open files over time with their slopes, and how far the exporter's counters are from those of `replay`.
//! It fails where tokens differ or the model on the page is not the one that is served.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod exporter;
mod lives;
mod vllm;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep};

use exporter::Exporter;
use lives::{Drift, Life};
use vllm::{FAULTS, Vllm};
use watch::Watch;

/// How much faster than it was recorded a life goes by.
const SPEED: f64 = 20.0;
/// How long it goes on by default.
const MINUTES: f64 = 60.0;
/// The shortest tick there is.
const TICK: Duration = Duration::from_millis(200);
/// How often memory and files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Looks between two lines of output.
const LOOKS_PER_LINE: usize = 30;

fn minutes() -> anyhow::Result<f64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--minutes");
    match arguments.nth(1) {
        Some(minutes) => minutes
            .parse()
            .with_context(|| format!("--minutes {minutes} is not a number")),
        None => Ok(MINUTES),
    }
}

/// Whether vLLM only restarts, and fails in no other way.
fn calm() -> bool {
    std::env::args().any(|argument| argument == "--calm")
}

/// Looks at the exporter, and reads all its pages as its users do, until it ends.
async fn watch(exporter: Arc<Exporter>) -> anyhow::Result<()> {
    let mut watch = Watch::default();
    loop {
        for path in ["/metrics", "/", "/api/v1/snapshot"] {
            exporter.page(path).await?;
        }
        let look = watch.look(exporter.pid)?;
        if watch.looks() % LOOKS_PER_LINE == 1 {
            println!("{look}");
        }
        sleep(LOOK).await;
        if exporter.has_ended() {
            println!("{}", watch.summary());
            return Ok(());
        }
    }
}

/// One life of `vllm`: a page that stands still, the recording with its faults, and a page that stands still again.
async fn live(life: &Arc<Life>, vllm: &Vllm, exporter: &Exporter) -> anyhow::Result<Drift> {
    vllm.start(life);
    exporter.has_read_what_stands().await?;
    let before = exporter.counters(life).await?;
    let started = Instant::now();
    let length = Duration::from_secs_f64(life.seconds() / SPEED);
    while started.elapsed() < length {
        let recorded = started.elapsed().as_secs_f64() * SPEED;
        vllm.play(recorded);
        if !calm() {
            vllm.fail_in_turn(started.elapsed());
        }
        sleep(TICK / 4).await;
    }
    vllm.stand_still(life.seconds());
    exporter.has_read_what_stands().await?;
    let after = exporter.counters(life).await?;
    life.drift(&before, &after)
}

async fn soak() -> anyhow::Result<()> {
    vllm_roofline_exporter::crypto::install();
    let length = Duration::from_secs_f64(minutes()? * 60.0);
    let lives = lives::recorded(SPEED * TICK.as_secs_f64())?;
    let vllm = Vllm::listen(&lives[0]).await?;
    let exporter = Arc::new(Exporter::start(vllm.url(), TICK)?);
    println!(
        "{} recordings at {SPEED:.0} times their speed for {length:?}, tick {TICK:?}",
        lives.len()
    );
    let watching = tokio::spawn(watch(Arc::clone(&exporter)));
    let started = Instant::now();
    let mut drift = Drift::default();
    let mut lived = 0;
    for life in lives.iter().cycle() {
        let of_life = live(life, &vllm, &exporter).await;
        drift.add(&of_life.with_context(|| format!("life {lived}, {}", life.name))?);
        lived += 1;
        if started.elapsed() >= length {
            break;
        }
    }
    println!("{lived} lives, {}", exporter.errors().await?);
    let faults = vllm.faults_done();
    println!("faults: {faults:?}");
    println!("{drift}");
    let healthy = exporter.page("/-/healthy").await? == "healthy\n";
    exporter.end();
    watching.await??;
    anyhow::ensure!(healthy, "the exporter is not healthy at the end");
    anyhow::ensure!(
        faults.len() == FAULTS.len() || calm(),
        "only {} of {} faults had their turn: soak for longer",
        faults.len(),
        FAULTS.len()
    );
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    soak().await
}
