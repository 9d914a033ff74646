//! The listener: plain or TLS, HTTP/1.1 only, with limits, until the shutdown.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::connection_limit::{Connection, ConnectionLimit};
use super::tls;
use super::write_timeout::TimedStream;

/// Requests in flight at a shutdown get this long.
const DRAIN: Duration = Duration::from_secs(3);
/// Timeout of a request's headers, and of a TLS handshake.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);
/// Bytes of a request's line and headers: a scraper's have a few hundred, with a long token a few thousand.
const LONGEST_HEAD: usize = 16 << 10;
/// Kernel buffer of an answer that the client does not read, and of requests not read yet; the kernel doubles both. Its own default is 4
/// MiB per connection.
const SEND_BUFFER: usize = 64 << 10;
const RECEIVE_BUFFER: usize = 16 << 10;
/// Pause before the next accept if the system fails to provide a connection, for example with too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves `app` until `shutdown`, then lets requests in flight finish within a limit.
///
/// # Errors
/// The system's error of the listener.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    encryption: Option<&tls::Encryption>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    // Connections inherit the settings of their listener.
    set_socket_send_buffer_size(&listener, SEND_BUFFER)?;
    set_socket_recv_buffer_size(&listener, RECEIVE_BUFFER)?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut places = ConnectionLimit::of(app);
    let ending = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Without a slot, it is closed before the next one is accepted.
                if let Some(connection) = places.place(peer) {
                    let encryption = encryption.cloned();
                    tokio::spawn(hold(stream, connection, encryption, ending.watcher()));
                }
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
    drop(listener);
    // Connections that are still open after that are closed.
    let _ = timeout(DRAIN, ending.shutdown()).await;
    Ok(())
}

/// Serves one connection to its end.
async fn hold(
    stream: TcpStream,
    connection: Connection,
    encryption: Option<tls::Encryption>,
    ending: Watcher,
) {
    let stream = TimedStream::new(stream, &connection);
    match encryption {
        None => answer(stream, connection, ending).await,
        Some(encryption) => {
            let agreed = timeout(LONGEST_QUESTION, tls::accept(&encryption, stream));
            if let Ok(Ok(stream)) = agreed.await {
                answer(stream, connection, ending).await;
            }
        }
    }
}

async fn answer<S>(stream: S, connection: Connection, ending: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LONGEST_QUESTION)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(connection));
    // A broken connection is not our error.
    let _ = ending.watch(serving).await;
}
