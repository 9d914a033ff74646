//! How many connections there are at once: whoever comes when all places are taken is cut off, not served slowly.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

/// Connections at once. A few scrapers and readers of the page need a tenth; file descriptors are left for reading vLLM, of which a
/// process may have 1,024.
const MOST_CONNECTIONS: usize = 256;

/// Gives each connection the app and a place, as long as there is one.
#[derive(Debug)]
pub(super) struct Places {
    app: Router,
    free: Arc<Semaphore>,
    /// Whether a connection found no place since half of them were free, so that this is said once and not for each.
    full: bool,
}

impl Places {
    pub(super) fn for_connections(app: Router) -> Self {
        Self {
            app,
            free: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            full: false,
        }
    }
}

/// Called where connections are accepted, so that one without a place is closed before the next is taken.
impl Service<SocketAddr> for Places {
    type Response = Placed;
    type Error = io::Error;
    type Future = Ready<io::Result<Placed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: SocketAddr) -> Self::Future {
        self.full &= self.free.available_permits() <= MOST_CONNECTIONS / 2;
        let Ok(place) = Arc::clone(&self.free).try_acquire_owned() else {
            if !self.full {
                tracing::warn!("{MOST_CONNECTIONS} connections are open: more are cut off");
            }
            self.full = true;
            return ready(Err(io::Error::other("no place for another connection")));
        };
        ready(Ok(Placed {
            app: self.app.clone(),
            _place: Arc::new(place),
        }))
    }
}

/// The app, for one connection, which has its place until it ends.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    app: Router,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Service<Request<Incoming>> for Placed {
    type Response = <Router as Service<Request<Incoming>>>::Response;
    type Error = <Router as Service<Request<Incoming>>>::Error;
    type Future = <Router as Service<Request<Incoming>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // An axum router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.app.call(request)
    }
}
