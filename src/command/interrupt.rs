//! `Interrupt`: a Ctrl-C, SIGTERM, SIGHUP (a terminal that is gone) or SIGQUIT, heard by all parts of a long command, so that a server
//! that it started is ended with it.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Hears whether the user wants an end.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens from now on. Needs a runtime.
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
            // The handlers are in place when this returns, and not when the task first runs.
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

    /// Whether it was heard.
    #[must_use]
    pub fn heard(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when it is heard.
    pub async fn wait(&self) {
        let heard = self.0.clone().wait_for(|heard| *heard).await.is_ok();
        if !heard {
            // Nobody can interrupt any more.
            std::future::pending::<()>().await;
        }
    }
}
