//! `RunPhase`: how far a run is, told by the driver to every worker.

use tokio::sync::watch;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunPhase {
    /// Requests are sent.
    Sending,
    /// No more are sent; those that run may end.
    Draining,
    /// Those that run are given up.
    Aborted,
}

/// Tells the phase.
#[derive(Debug)]
pub struct PhaseSender(watch::Sender<RunPhase>);

/// Hears it.
#[derive(Clone, Debug)]
pub struct PhaseReceiver(watch::Receiver<RunPhase>);

/// A run that begins.
#[must_use]
pub fn begin() -> (PhaseSender, PhaseReceiver) {
    let (sender, receiver) = watch::channel(RunPhase::Sending);
    (PhaseSender(sender), PhaseReceiver(receiver))
}

impl PhaseSender {
    /// Goes on to `phase`; never back.
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
    /// Whether requests are still sent.
    #[must_use]
    pub fn sending(&self) -> bool {
        *self.0.borrow() == RunPhase::Sending
    }

    /// Ends when no more requests are to be sent.
    pub async fn drained(&mut self) {
        self.reached(RunPhase::Draining).await;
    }

    /// Ends when running requests are to be given up.
    pub async fn aborted(&mut self) {
        self.reached(RunPhase::Aborted).await;
    }

    async fn reached(&mut self, phase: RunPhase) {
        // Without a conductor there is nothing to wait for: the run is over.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}
