//! The driver: warms up, sends requests, and decides when a run ends.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::LoadError;
use super::client::Client;
use super::failure::is_refusal;
use super::phase::{PhaseSender, RunPhase, begin};
use super::preflight::{self, ServerOffer};
use super::probe::Probe;
use super::prompt::Writer;
use super::run::{ClientCost, Lengths, LoadRun, RequestRecord, RequestedLoad, SCHEMA, TOOL};
use super::run_stats::RunProgress;
use super::settings::LoadSettings;
use super::worker_pool::WorkerPool;

/// Interval of progress reports.
const TICK: Duration = Duration::from_millis(500);
/// Seed offset of the warm-up prompts, so that measured prompts are not in the prefix cache.
const WARMUP_SALT: u64 = 0x9E37_79B9_7F4A_7C15;

/// Runs the load until its limit, until `interrupt` ends, or until the server is gone; `progress` is called twice a second. The result
/// holds every request that ended by then.
///
/// # Errors
/// [`LoadError`], if the run cannot start.
pub async fn run(
    settings: &LoadSettings,
    interrupt: impl Future<Output = ()>,
    progress: impl Fn(RunProgress),
) -> Result<LoadRun, LoadError> {
    tokio::pin!(interrupt);
    let server = tokio::select! {
        server = preflight::ask(settings) => server?,
        () = &mut interrupt => return Err(LoadError::Interrupted),
    };
    let client = Arc::new(Client::new(settings, &server.model, server.is_vllm)?);
    tokio::select! {
        warmed = warm_up(settings, &server, &client) => warmed?,
        () = &mut interrupt => return Err(LoadError::Interrupted),
    }

    let probe = Probe::start().map_err(|error| LoadError::Client(error.to_string()))?;
    let writer = Writer::new(settings.prompts.clone(), server.script, settings.seed);
    let worker_pool = WorkerPool::new(client, writer, settings.limit.requests);
    let (conductor, watch) = begin();
    let started_at = jiff::Timestamp::now().as_duration().as_secs_f64();
    let workers = worker_pool.start(settings, &watch)?;
    let interrupted = supervise(
        settings,
        &worker_pool,
        workers,
        &conductor,
        interrupt,
        progress,
    )
    .await;
    let outcome = RunOutcome {
        model: server.model,
        started_at,
        interrupted,
        client: probe.finish().await,
        requests: worker_pool.run_stats.take(),
    };
    Ok(outcome.into_run(settings))
}

/// Sends the warm-up requests, and returns the error if the server refuses them, before a whole run of such requests.
async fn warm_up(
    settings: &LoadSettings,
    server: &ServerOffer,
    client: &Arc<Client>,
) -> Result<(), LoadError> {
    let requests = settings.warmup_requests;
    let writer = Writer::new(
        settings.prompts.clone(),
        server.script,
        settings.seed ^ WARMUP_SALT,
    );
    let worker_pool = WorkerPool::new(Arc::clone(client), writer, Some(requests));
    // Held to the end: dropping the sender ends a run.
    let (_conductor, watch) = begin();
    let at_a_time = settings.arrivals.most().unwrap_or(requests).min(requests);
    let mut workers = worker_pool.closed_loop(at_a_time, &watch);
    while workers.join_next().await.is_some() {}
    let kinds = worker_pool
        .run_stats
        .take()
        .into_iter()
        .filter_map(|request| request.error);
    match kinds.into_iter().find(|kind| is_refusal(kind)) {
        None => Ok(()),
        Some(kind) => Err(LoadError::Refused(format!(
            "{} refuses requests such as these ({kind}): {}",
            settings.shown_url,
            worker_pool.run_stats.complaint(&kind).unwrap_or_default()
        ))),
    }
}

/// Collects from `workers` and advances the phase of the run; returns whether it was interrupted.
async fn supervise(
    settings: &LoadSettings,
    worker_pool: &WorkerPool,
    mut workers: JoinSet<()>,
    conductor: &PhaseSender,
    mut interrupt: Pin<&mut impl Future<Output = ()>>,
    progress: impl Fn(RunProgress),
) -> bool {
    let mut deadline = settings
        .limit
        .duration
        .map(|duration| worker_pool.epoch + duration);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut interrupted = false;
    loop {
        tokio::select! {
            worker = workers.join_next() => if worker.is_none() {
                return interrupted;
            },
            () = &mut interrupt, if !interrupted => {
                interrupted = true;
                conductor.advance(RunPhase::Aborted);
            }
            () = until(deadline) => if conductor.phase() == RunPhase::Sending {
                conductor.advance(RunPhase::Draining);
                deadline = Some(Instant::now() + settings.grace);
            } else {
                conductor.advance(RunPhase::Aborted);
                deadline = None;
            },
            _ = ticks.tick() => {
                progress(worker_pool.run_stats.progress(worker_pool.epoch));
                if !interrupted && worker_pool.run_stats.server_is_gone(settings.give_up_after) {
                    tracing::warn!("{} takes no connections any more: the run ends with what it has", settings.shown_url);
                    interrupted = true;
                    conductor.advance(RunPhase::Aborted);
                }
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The outcome of a run.
struct RunOutcome {
    model: String,
    started_at: f64,
    interrupted: bool,
    client: ClientCost,
    requests: Vec<RequestRecord>,
}

impl RunOutcome {
    fn into_run(self, settings: &LoadSettings) -> LoadRun {
        let mut errors = BTreeMap::new();
        for kind in self
            .requests
            .iter()
            .filter_map(|request| request.error.clone())
        {
            *errors.entry(kind).or_insert(0) += 1;
        }
        let failed = errors.values().sum();
        let begins = self.requests.iter().map(|request| request.start_seconds);
        let ends = self
            .requests
            .iter()
            .map(|request| request.start_seconds + request.e2e_seconds);
        let duration = ends.fold(0.0, f64::max) - begins.fold(f64::INFINITY, f64::min);
        let lengths = |length: fn(&RequestRecord) -> u32| {
            Lengths::of(
                self.requests
                    .iter()
                    .filter(|request| request.error.is_none())
                    .map(length),
            )
        };
        LoadRun {
            schema: SCHEMA,
            tool: TOOL.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            url: settings.shown_url.clone(),
            api: settings.api,
            load: RequestedLoad {
                input_len: lengths(|request| request.input_tokens),
                output_len: lengths(|request| request.output_tokens),
                ..settings.load()
            },
            warmup_requests: settings.warmup_requests,
            duration_seconds: duration.max(0.0),
            interrupted: self.interrupted,
            completed: u32::try_from(self.requests.len()).unwrap_or(u32::MAX) - failed,
            failed,
            errors,
            client: self.client,
            model: self.model,
            requests: self.requests,
        }
    }
}
