//! The totals of the requests that have ended, shared by all workers of a run.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::failure::Failure;
use super::run::RequestRecord;

/// The requests that have ended so far.
#[derive(Debug, Default)]
pub struct RunStats {
    running: AtomicU32,
    completed: AtomicU32,
    failed: AtomicU32,
    output_tokens: AtomicU64,
    requests: Mutex<Vec<RequestRecord>>,
    complaints: Mutex<BTreeMap<String, String>>,
    refused_since: Mutex<Option<Instant>>,
}

/// Progress of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunProgress {
    /// Seconds since the start of the measurement.
    pub elapsed_seconds: f64,
    /// Requests under way.
    pub running: u32,
    /// Requests answered in full.
    pub completed: u32,
    /// Requests that failed.
    pub failed: u32,
    /// Output tokens that arrived, of unfinished requests too.
    pub output_tokens: u64,
}

impl RunStats {
    /// Counts a request as sent.
    pub fn begin(&self) {
        self.running.fetch_add(1, Relaxed);
    }

    /// Counts output tokens.
    pub fn tokens(&self, count: u32) {
        self.output_tokens.fetch_add(u64::from(count), Relaxed);
    }

    /// Counts a request as ended.
    pub fn end(&self, request: RequestRecord) {
        self.running.fetch_sub(1, Relaxed);
        let tally = if request.error.is_none() {
            &self.completed
        } else {
            &self.failed
        };
        tally.fetch_add(1, Relaxed);
        let no_connection = request.error == Some(Failure::Connect.kind());
        let mut refused_since = held(&self.refused_since);
        *refused_since = no_connection.then(|| refused_since.unwrap_or_else(Instant::now));
        drop(refused_since);
        held(&self.requests).push(request);
    }

    /// Keeps and logs the server's error message, the first of each kind.
    pub(crate) fn complain(&self, failure: Failure, words: impl FnOnce() -> String) {
        let kind = failure.kind();
        if let Entry::Vacant(first) = held(&self.complaints).entry(kind) {
            let words = first.insert(words());
            tracing::warn!(kind = failure.kind(), "a request failed: {words}");
        }
    }

    /// The server's message for a kind of failure.
    #[must_use]
    pub fn complaint(&self, kind: &str) -> Option<String> {
        held(&self.complaints).get(kind).cloned()
    }

    /// Whether the server has accepted no connection for `patience`.
    #[must_use]
    pub(crate) fn server_is_gone(&self, patience: Duration) -> bool {
        held(&self.refused_since).is_some_and(|since| since.elapsed() > patience)
    }

    /// The progress of the run that began at `epoch`.
    #[must_use]
    pub fn progress(&self, epoch: Instant) -> RunProgress {
        RunProgress {
            elapsed_seconds: epoch.elapsed().as_secs_f64(),
            running: self.running.load(Relaxed),
            completed: self.completed.load(Relaxed),
            failed: self.failed.load(Relaxed),
            output_tokens: self.output_tokens.load(Relaxed),
        }
    }

    /// Takes the ended requests, in the order they were sent.
    #[must_use]
    pub fn take(&self) -> Vec<RequestRecord> {
        let mut requests = std::mem::take(&mut *held(&self.requests));
        requests.sort_by(|one, other| one.start_seconds.total_cmp(&other.start_seconds));
        requests
    }
}

/// Ignores poisoning: a worker that panicked while it held the lock left valid values.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
