//! The soak test: the real exporter reads a vLLM that plays recordings at twenty times their speed and fails in every known way.
//!
//! `cargo bench --bench soak -- --minutes 60`. Each recording is one run of vLLM, and the next run serves another model. At both ends of a
//! run the page stays constant until the exporter has read it, so the counts in between are known whatever failed meanwhile: tokens must
//! equal those of the pages exactly, FLOPs and bytes those of `replay` over the same pages.
//!
//! With `--calm` there are only restarts: the remaining drift is not caused by faults.
//!
//! It prints resident memory and open files over time with their slopes, and the difference between the exporter's counters and those of
//! `replay`. It fails if tokens differ or the model on the page is not the served one.

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

/// Playback speed relative to the recording.
const SPEED: f64 = 20.0;
/// Default duration.
const MINUTES: f64 = 60.0;
/// The shortest possible tick.
const TICK: Duration = Duration::from_millis(200);
/// Sampling interval of memory and files.
const LOOK: Duration = Duration::from_secs(2);
/// Samples between two lines of output.
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

/// Whether vLLM only restarts, without other faults.
fn calm() -> bool {
    std::env::args().any(|argument| argument == "--calm")
}

/// Samples the exporter, and reads all its pages as users do, until it ends.
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

/// One run of `vllm`: a constant page, the recording with its faults, and a constant page again.
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
