//! Limits concurrent connections. At the limit, the oldest connection of the peer with the most connections is closed: a probe or a scraper
//! always gets in, however many connections another client holds open.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tower::Service;

use super::held::HeldPages;

/// Maximum number of connections. A few scrapers and page readers need a tenth of it; it leaves file descriptors for reading vLLM, of which
/// a process may have 1,024.
pub(super) const MOST_CONNECTIONS: usize = 256;
/// Maximum number of connections being closed. Above it, new connections are refused.
const MOST_CLOSING: usize = 64;

/// Gives each connection the app and a slot.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    app: Router,
    open: Arc<Mutex<Open>>,
    held: HeldPages,
    /// Whether a connection was closed for another since half of the slots were free, so that this is logged once.
    full: bool,
}

/// The open connections.
#[derive(Debug, Default)]
struct Open {
    /// By age, the oldest first.
    connections: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
    /// Number of connections accepted so far.
    accepted: u64,
    /// Number of connections being closed.
    closing: usize,
}

impl Open {
    fn lock(open: &Mutex<Self>) -> MutexGuard<'_, Self> {
        open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the oldest connection of the peer with the most connections.
    fn make_room(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (peer, _) in self.connections.values() {
            *counts.entry(*peer).or_default() += 1;
        }
        let most = counts.values().copied().max();
        let oldest = self
            .connections
            .iter()
            .find(|(_, (peer, _))| counts.get(peer).copied() == most)
            .map(|(&number, _)| number);
        if let Some((_, closed)) = oldest.and_then(|oldest| self.connections.remove(&oldest)) {
            self.closing += 1;
            closed.notify_one();
        }
    }
}

impl ConnectionLimit {
    pub(super) fn of(app: Router) -> Self {
        Self {
            app,
            open: Arc::default(),
            held: HeldPages::default(),
            full: false,
        }
    }

    /// A slot for a connection of `peer`; `None` if too many connections are already being closed.
    pub(super) fn place(&mut self, peer: SocketAddr) -> Option<Connection> {
        let mut open = Open::lock(&self.open);
        self.full &= open.connections.len() > MOST_CONNECTIONS / 2;
        if open.connections.len() >= MOST_CONNECTIONS {
            if !self.full {
                tracing::warn!(
                    "{MOST_CONNECTIONS} connections are open: the oldest ones of whoever has most are closed"
                );
            }
            self.full = true;
            if open.closing >= MOST_CLOSING {
                return None;
            }
            open.make_room();
        }
        open.accepted += 1;
        let (number, closed) = (open.accepted, Arc::new(Notify::new()));
        open.connections
            .insert(number, (peer.ip(), Arc::clone(&closed)));
        Some(Connection {
            app: self.app.clone(),
            peer: Peer(peer.ip()),
            held: self.held.clone(),
            place: Arc::new(ConnectionSlot {
                number,
                closed,
                open: Arc::clone(&self.open),
            }),
        })
    }
}

/// The app for one connection, which holds its slot until it ends.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    app: Router,
    peer: Peer,
    held: HeldPages,
    place: Arc<ConnectionSlot>,
}

impl Connection {
    /// Resolves when the connection must close for another one.
    pub(super) fn closed(&self) -> OwnedNotified {
        Arc::clone(&self.place.closed).notified_owned()
    }
}

/// The client's address, in the extensions of each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

#[derive(Debug)]
struct ConnectionSlot {
    number: u64,
    closed: Arc<Notify>,
    open: Arc<Mutex<Open>>,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = Open::lock(&self.open);
        if open.connections.remove(&self.number).is_none() {
            open.closing -= 1;
        }
    }
}

impl Service<Request<Incoming>> for Connection {
    type Response = <Router as Service<Request<Incoming>>>::Response;
    type Error = <Router as Service<Request<Incoming>>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // An axum router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        let answer = self.app.call(request);
        let (held, closed) = (self.held.clone(), Arc::clone(&self.place.closed));
        Box::pin(async move { Ok(held.hold(answer.await?, &closed)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_of_whoever_has_most_gives_way() {
        let mut limit = ConnectionLimit::of(Router::new());
        let scraper = SocketAddr::from(([10, 0, 0, 1], 1));
        let flood = SocketAddr::from(([10, 0, 0, 2], 1));
        let kept = limit.place(scraper).unwrap();
        let first = limit.place(flood).unwrap();
        let mut rest = Vec::new();
        for _ in 2..MOST_CONNECTIONS {
            rest.push(limit.place(flood).unwrap());
        }
        let probe = limit.place(scraper).unwrap();
        first.closed().await;
        for connection in [&kept, &probe] {
            let number = connection.place.number;
            assert!(Open::lock(&limit.open).connections.contains_key(&number));
        }
        drop((first, rest));
        let open = Open::lock(&limit.open);
        assert_eq!((open.connections.len(), open.closing), (2, 0));
    }
}
