//! `Interrupt`: a Ctrl-C or SIGTERM, heard by all parts of a long command.

use tokio::sync::watch;

use super::serve::terminated;

/// Hears whether the user wants an end.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens from now on. Needs a runtime.
    #[must_use]
    pub fn listen() -> Self {
        let (tell, hear) = watch::channel(false);
        tokio::spawn(async move {
            terminated().await;
            tell.send_replace(true);
        });
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
