//! The driver: warms up, sends, and decides when a run ends.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::LoadError;
use super::arrival::Schedule;
use super::client::{Client, Prepared};
use super::failure::is_refusal;
use super::ledger::{Ledger, Progress};
use super::phase::{Conductor, Phase, Watch, begin};
use super::preflight::{self, Server};
use super::probe::Probe;
use super::prompt::Writer;
use super::run::{ClientCost, Lengths, Load, LoadRun, Request, SCHEMA, TOOL};
use super::settings::{Arrivals, LoadSettings};
use crate::sampler::now;

/// How often progress is told.
const TICK: Duration = Duration::from_millis(500);
/// A worker whose request failed waits so long, twice as long after each further failure, at most [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Keeps the prompts of the warm-up out of the measured ones, which else would find them in the prefix cache.
const WARMUP_SALT: u64 = 0x9E37_79B9_7F4A_7C15;

/// Puts the load on the server until it is enough, `interrupt` ends, or the server is gone; `progress` hears about it twice a second.
/// What had ended by then is in the result, whatever happened.
///
/// # Errors
/// [`LoadError`], if it does not even begin.
pub async fn run(
    settings: &LoadSettings,
    interrupt: impl Future<Output = ()>,
    progress: impl Fn(Progress),
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
    let crew = Crew::new(client, writer, settings.limit.requests);
    let (conductor, watch) = begin();
    let started_at = now().0;
    let workers = crew.start(settings, &watch)?;
    let interrupted = supervise(settings, &crew, workers, &conductor, interrupt, progress).await;
    let outcome = Outcome {
        model: server.model,
        started_at,
        interrupted,
        client: probe.finish().await,
        requests: crew.ledger.take(),
    };
    Ok(outcome.into_run(settings))
}

/// Sends the warm-up requests, and tells of a request that is wrong before a whole run of them is.
async fn warm_up(
    settings: &LoadSettings,
    server: &Server,
    client: &Arc<Client>,
) -> Result<(), LoadError> {
    let requests = settings.warmup_requests;
    let writer = Writer::new(
        settings.prompts.clone(),
        server.script,
        settings.seed ^ WARMUP_SALT,
    );
    let crew = Crew::new(Arc::clone(client), writer, Some(requests));
    // Held to the end: without a conductor a run is over.
    let (_conductor, watch) = begin();
    let at_a_time = settings.arrivals.most().unwrap_or(requests).min(requests);
    let mut workers = crew.closed_loop(at_a_time, &watch);
    while workers.join_next().await.is_some() {}
    let kinds = crew
        .ledger
        .take()
        .into_iter()
        .filter_map(|request| request.error);
    match kinds.into_iter().find(|kind| is_refusal(kind)) {
        None => Ok(()),
        Some(kind) => Err(LoadError::Refused(format!(
            "{} refuses requests such as these ({kind}): {}",
            settings.url,
            crew.ledger.complaint(&kind).unwrap_or_default()
        ))),
    }
}

/// Hears `workers` out and moves the run from phase to phase; tells whether it ended before it was done.
async fn supervise(
    settings: &LoadSettings,
    crew: &Crew,
    mut workers: JoinSet<()>,
    conductor: &Conductor,
    mut interrupt: Pin<&mut impl Future<Output = ()>>,
    progress: impl Fn(Progress),
) -> bool {
    let mut deadline = settings
        .limit
        .duration
        .map(|duration| crew.epoch + duration);
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
                conductor.advance(Phase::Aborted);
            }
            () = until(deadline) => if conductor.phase() == Phase::Sending {
                conductor.advance(Phase::Draining);
                deadline = Some(Instant::now() + settings.grace);
            } else {
                conductor.advance(Phase::Aborted);
                deadline = None;
            },
            _ = ticks.tick() => {
                progress(crew.ledger.progress(crew.epoch));
                if !interrupted && crew.ledger.server_is_gone(settings.give_up_after) {
                    tracing::warn!("{} takes no connections any more: the run ends with what it has", settings.url);
                    interrupted = true;
                    conductor.advance(Phase::Aborted);
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

/// What the workers of a run share.
#[derive(Clone, Debug)]
struct Crew {
    client: Arc<Client>,
    supply: Arc<Mutex<Supply>>,
    ledger: Arc<Ledger>,
    epoch: Instant,
}

/// The prompts that are left.
#[derive(Debug)]
struct Supply {
    writer: Writer,
    left: Option<u32>,
}

impl Crew {
    fn new(client: Arc<Client>, writer: Writer, left: Option<u32>) -> Self {
        Self {
            client,
            supply: Arc::new(Mutex::new(Supply { writer, left })),
            ledger: Arc::default(),
            epoch: Instant::now(),
        }
    }

    /// Sets the workers of `settings` to work.
    fn start(&self, settings: &LoadSettings, watch: &Watch) -> Result<JoinSet<()>, LoadError> {
        match settings.arrivals {
            Arrivals::Closed { concurrency } => Ok(self.closed_loop(concurrency, watch)),
            Arrivals::Open {
                rate,
                burstiness,
                most,
            } => {
                let requests = settings.limit.requests;
                let schedule = Schedule::new(rate, burstiness, requests, settings.seed)
                    .ok_or_else(|| LoadError::Refused(format!("no requests can be sent at {rate} a second with burstiness {burstiness}")))?;
                let mut workers = JoinSet::new();
                workers.spawn(self.clone().open_loop(schedule, most, watch.clone()));
                Ok(workers)
            }
        }
    }

    fn closed_loop(&self, concurrency: u32, watch: &Watch) -> JoinSet<()> {
        (0..concurrency)
            .map(|_| self.clone().one_after_the_other(watch.clone()))
            .collect()
    }

    async fn one_after_the_other(self, mut watch: Watch) {
        let mut pause = FIRST_PAUSE;
        while watch.sending()
            && let Some(request) = self.next()
        {
            if self.send(request, watch.clone()).await {
                pause = FIRST_PAUSE;
                continue;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = watch.drained() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn open_loop(self, schedule: Schedule, most: Option<u32>, mut watch: Watch) {
        let places = most.map(|most| Arc::new(Semaphore::new(most as usize)));
        let mut running = JoinSet::new();
        for time in schedule {
            // Made before its time, so that it is sent on time.
            let Some(request) = self.next() else { break };
            let due = self.epoch + Duration::from_secs_f64(time);
            let place = async {
                sleep_until(due).await;
                place(places.as_ref()).await
            };
            let place = tokio::select! {
                place = place => place,
                () = watch.drained() => break,
            };
            let (crew, watch) = (self.clone(), watch.clone());
            running.spawn(async move {
                crew.send(request, watch).await;
                drop(place);
            });
            while running.try_join_next().is_some() {}
        }
        while running.join_next().await.is_some() {}
    }

    /// The next request, as long as any is left.
    fn next(&self) -> Option<Prepared> {
        let mut supply = self.supply.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = &mut supply.left {
            *left = left.checked_sub(1)?;
        }
        let ask = supply.writer.ask();
        drop(supply);
        Some(self.client.prepare(&ask))
    }

    /// Sends `request` and tells whether it was answered in full.
    async fn send(&self, request: Prepared, watch: Watch) -> bool {
        self.ledger.begin();
        let request = self
            .client
            .send(request, self.epoch, &self.ledger, watch)
            .await;
        let answered = request.error.is_none();
        self.ledger.end(request);
        answered
    }
}

/// A place among those that may run at a time, where that is limited.
async fn place(places: Option<&Arc<Semaphore>>) -> Option<OwnedSemaphorePermit> {
    match places {
        Some(places) => Arc::clone(places).acquire_owned().await.ok(),
        None => None,
    }
}

/// What came of the run.
struct Outcome {
    model: String,
    started_at: f64,
    interrupted: bool,
    client: ClientCost,
    requests: Vec<Request>,
}

impl Outcome {
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
        let lengths = |length: fn(&Request) -> u32| {
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
            url: settings.url.to_string(),
            api: settings.api,
            load: Load {
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
