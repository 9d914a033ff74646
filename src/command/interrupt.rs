//! `Interrupt`: Ctrl-C, SIGTERM, SIGHUP (the terminal closed) or SIGQUIT, shared by all parts of a long command, so that a server that it
//! started is stopped with it.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Receives whether the user has interrupted the command.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Starts listening. Needs a runtime.
    #[must_use]
    pub fn listen() -> Self {
        let (tell, hear) = watch::channel(false);
        let tell = std::sync::Arc::new(tell);
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::quit(),
        ] {
            // Install the handlers before returning, not when the task first runs.
            let Ok(mut signals) = signal(kind) else {
                continue;
            };
            let tell = std::sync::Arc::clone(&tell);
            tokio::spawn(async move {
                signals.recv().await;
                tell.send_replace(true);
            });
        }
        Self(hear)
    }

    /// Whether an interrupt was received.
    #[must_use]
    pub fn heard(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns on an interrupt.
    pub async fn wait(&self) {
        let heard = self.0.clone().wait_for(|heard| *heard).await.is_ok();
        if !heard {
            // No interrupt can arrive any more.
            std::future::pending::<()>().await;
        }
    }
}
