//! Resolves host names with the system's resolver, one at a time: a name server that never answers occupies one thread, not one more each
//! tick.

use std::net::ToSocketAddrs;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

/// The lookups of one server's host name.
#[derive(Debug)]
pub(super) struct OneAtATime(Arc<Semaphore>);

impl Default for OneAtATime {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Resolve for OneAtATime {
    fn resolve(&self, name: Name) -> Resolving {
        let turn = Arc::clone(&self.0);
        Box::pin(async move {
            let turn = turn.acquire_owned().await?;
            let lookup = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs();
                // Held until the system answers, however long ago the caller timed out.
                drop(turn);
                found
            });
            Ok(Box::new(lookup.await??) as Addrs)
        })
    }
}
