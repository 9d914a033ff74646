//! `WorkerPool`: the workers of a run, in a closed or an open loop.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::LoadError;
use super::arrival::Schedule;
use super::client::{Client, PreparedRequest};
use super::phase::PhaseReceiver;
use super::prompt::Writer;
use super::run_stats::RunStats;
use super::settings::{Arrivals, LoadSettings};

/// Pause of a worker after a failed request; it doubles with each further failure, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the workers of a run share.
#[derive(Clone, Debug)]
pub(super) struct WorkerPool {
    client: Arc<Client>,
    supply: Arc<Mutex<Supply>>,
    /// The requests that have ended.
    pub(super) run_stats: Arc<RunStats>,
    /// Start of the run.
    pub(super) epoch: Instant,
}

/// The remaining prompts.
#[derive(Debug)]
struct Supply {
    writer: Writer,
    left: Option<u32>,
}

impl WorkerPool {
    pub(super) fn new(client: Arc<Client>, writer: Writer, left: Option<u32>) -> Self {
        Self {
            client,
            supply: Arc::new(Mutex::new(Supply { writer, left })),
            run_stats: Arc::default(),
            epoch: Instant::now(),
        }
    }

    /// Starts the workers of `settings`.
    pub(super) fn start(
        &self,
        settings: &LoadSettings,
        watch: &PhaseReceiver,
    ) -> Result<JoinSet<()>, LoadError> {
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

    /// Workers that send one request after the other.
    pub(super) fn closed_loop(&self, concurrency: u32, watch: &PhaseReceiver) -> JoinSet<()> {
        (0..concurrency)
            .map(|_| self.clone().one_after_the_other(watch.clone()))
            .collect()
    }

    async fn one_after_the_other(self, mut watch: PhaseReceiver) {
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

    async fn open_loop(self, schedule: Schedule, most: Option<u32>, mut watch: PhaseReceiver) {
        let places = most.map(|most| Arc::new(Semaphore::new(most as usize)));
        let mut running = JoinSet::new();
        for time in schedule {
            // Prepared ahead of time, so that it is sent on time.
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
            let (worker_pool, watch) = (self.clone(), watch.clone());
            running.spawn(async move {
                worker_pool.send(request, watch).await;
                drop(place);
            });
            while running.try_join_next().is_some() {}
        }
        while running.join_next().await.is_some() {}
    }

    /// The next request, while any is left.
    fn next(&self) -> Option<PreparedRequest> {
        let mut supply = self.supply.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = &mut supply.left {
            *left = left.checked_sub(1)?;
        }
        let ask = supply.writer.ask();
        drop(supply);
        Some(self.client.prepare(&ask))
    }

    /// Sends `request` and returns whether it was answered in full.
    async fn send(&self, request: PreparedRequest, watch: PhaseReceiver) -> bool {
        self.run_stats.begin();
        let request = self
            .client
            .send(request, self.epoch, &self.run_stats, watch)
            .await;
        let answered = request.error.is_none();
        self.run_stats.end(request);
        answered
    }
}

/// A permit of the concurrency limit, if there is one.
async fn place(places: Option<&Arc<Semaphore>>) -> Option<OwnedSemaphorePermit> {
    match places {
        Some(places) => Arc::clone(places).acquire_owned().await.ok(),
        None => None,
    }
}
