//! `RunPhase`: the state of a run, sent by the driver to every worker.

use tokio::sync::watch;

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunPhase {
    /// Requests are sent.
    Sending,
    /// No more requests are sent; running ones may end.
    Draining,
    /// Running requests are aborted.
    Aborted,
}

/// Publishes the phase.
#[derive(Debug)]
pub struct PhaseSender(watch::Sender<RunPhase>);

/// Receives the phase.
#[derive(Clone, Debug)]
pub struct PhaseReceiver(watch::Receiver<RunPhase>);

/// Starts a run.
#[must_use]
pub fn begin() -> (PhaseSender, PhaseReceiver) {
    let (sender, receiver) = watch::channel(RunPhase::Sending);
    (PhaseSender(sender), PhaseReceiver(receiver))
}

impl PhaseSender {
    /// Advances to `phase`; never goes back.
    pub fn advance(&self, phase: RunPhase) {
        self.0.send_if_modified(|now| {
            let further = phase > *now;
            if further {
                *now = phase;
            }
            further
        });
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> RunPhase {
        *self.0.borrow()
    }
}

impl PhaseReceiver {
    /// Whether requests may still be sent.
    #[must_use]
    pub fn sending(&self) -> bool {
        *self.0.borrow() == RunPhase::Sending
    }

    /// Returns when no more requests may be sent.
    pub(crate) async fn drained(&mut self) {
        self.reached(RunPhase::Draining).await;
    }

    /// Returns when running requests must be aborted.
    pub async fn aborted(&mut self) {
        self.reached(RunPhase::Aborted).await;
    }

    async fn reached(&mut self, phase: RunPhase) {
        // If the sender is gone, the run is over.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}
