//! Closes a connection whose client reads nothing for too long, or whose slot is needed for another.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Sleep, sleep};

use super::connection_limit::Connection;

/// Timeout of a write.
const LONGEST_WRITE: Duration = Duration::from_secs(10);

/// A connection that closes when its client stops reading, or when its slot is needed.
#[derive(Debug)]
pub(super) struct TimedStream<S> {
    stream: S,
    /// Runs while a write is pending.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Resolves when the slot is needed.
    closed: Pin<Box<OwnedNotified>>,
}

impl<S> TimedStream<S> {
    /// `stream`, which is that of `connection`.
    pub(super) fn new(stream: S, connection: &Connection) -> Self {
        Self {
            stream,
            waiting: None,
            closed: Box::pin(connection.closed()),
        }
    }

    /// Fails if the slot is needed.
    fn is_open(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// `write`, or an error after the timeout.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.is_open(context)?;
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

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_open(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
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
