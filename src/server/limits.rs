//! How many connections there are at once, and how long one may hold up a write: whoever asks for more is cut off, not served slowly.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections at once. A few scrapers and readers of the page need a tenth; file descriptors are left for reading vLLM, of which a
/// process may have 1,024.
const MOST_CONNECTIONS: usize = 256;
/// A reader that takes nothing for so long is gone.
const LONGEST_WRITE: Duration = Duration::from_secs(10);

/// Takes connections as `inner` does, as long as there is room.
#[derive(Clone, Debug)]
pub(super) struct Limited<A> {
    inner: A,
    room: Arc<Semaphore>,
    /// Whether a connection found no room since half of it was free, so that this is said once and not for each.
    full: Arc<AtomicBool>,
}

impl<A> Limited<A> {
    pub(super) fn new(inner: A) -> Self {
        Self {
            inner,
            room: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            full: Arc::default(),
        }
    }

    /// The right to one connection.
    fn permit(&self) -> io::Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.room).try_acquire_owned();
        if self.room.available_permits() > MOST_CONNECTIONS / 2 {
            self.full.store(false, Ordering::Relaxed);
        }
        permit.map_err(|_| {
            if !self.full.swap(true, Ordering::Relaxed) {
                tracing::warn!("{MOST_CONNECTIONS} connections are open: more are cut off");
            }
            io::Error::other("too many connections")
        })
    }
}

impl<A, I, S> Accept<I, S> for Limited<A>
where
    A: Accept<I, S>,
    A::Stream: Send + 'static,
    A::Service: Send + 'static,
    A::Future: Send + 'static,
{
    type Stream = Held<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let permit = self.permit();
        let accepted = self.inner.accept(stream, service);
        Box::pin(async move {
            let permit = permit?;
            let (stream, service) = accepted.await?;
            Ok((Held::new(stream, permit), service))
        })
    }
}

/// A connection that has its place, and loses it when its reader takes nothing.
#[derive(Debug)]
pub(super) struct Held<S> {
    stream: S,
    /// Running while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

impl<S> Held<S> {
    const fn new(stream: S, permit: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            waiting: None,
            _permit: permit,
        }
    }

    /// `write`, or an error where it has waited for too long.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.waiting = None;
            return write;
        }
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep(LONGEST_WRITE)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.in_time(context, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(context);
        self.in_time(context, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.stream).poll_shutdown(context);
        self.in_time(context, shutdown)
    }
}
