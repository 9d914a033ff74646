//! The listener: plain or TLS, with limits, until the shutdown.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::accept::Accept;
use axum_server::service::SendService;
use axum_server::{Handle, Server};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

use super::connection_limit::{Connection, ConnectionLimit};
use super::tls;
use super::write_timeout::WriteTimeout;

/// Requests in flight at a shutdown get this long.
const DRAIN: Duration = Duration::from_secs(3);
/// Whoever takes longer to ask is not asking.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);
/// Bytes of a request's line and headers: a scraper's have a few hundred, with a long token a few thousand.
const LONGEST_HEAD: usize = 16 << 10;
/// Bytes that the kernel holds for a reader that takes none, and of requests that are not read yet; it doubles both. Left to itself it
/// takes 4 MiB for each connection.
const SEND_BUFFER: usize = 64 << 10;
const RECEIVE_BUFFER: usize = 16 << 10;

/// Serves `app` until `shutdown`, then lets requests in flight finish within a limit.
///
/// # Errors
/// What the system says of the listener.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    encryption: Option<&tls::Encryption>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    // Connections have what their listener has.
    set_socket_send_buffer_size(&listener, SEND_BUFFER)?;
    set_socket_recv_buffer_size(&listener, RECEIVE_BUFFER)?;
    let handle = Handle::new();
    let ending = handle.clone();
    tokio::spawn(async move {
        shutdown.await;
        ending.graceful_shutdown(Some(DRAIN));
    });
    let server = axum_server::from_tcp(listener)?;
    match encryption {
        None => run(server, handle, app).await,
        #[cfg(feature = "tls")]
        Some(encryption) => {
            let acceptor = axum_server::tls_rustls::RustlsAcceptor::new(encryption.clone());
            run(server.acceptor(acceptor), handle, app).await
        }
        #[cfg(not(feature = "tls"))]
        Some(never) => match *never {},
    }
}

async fn run<A>(
    server: Server<SocketAddr, A>,
    handle: Handle<SocketAddr>,
    app: Router,
) -> io::Result<()>
where
    A: Accept<tokio::net::TcpStream, Connection> + Clone + Send + Sync + 'static,
    A::Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    A::Service: SendService<axum::http::Request<hyper::body::Incoming>> + Send + 'static,
    A::Future: Send + 'static,
{
    // Version 1 only: nobody asks for another, and looking out for one would wait without a limit.
    let mut server = server.map(WriteTimeout).http1_only();
    server
        .http_builder()
        .http1()
        .header_read_timeout(LONGEST_QUESTION)
        .max_buf_size(LONGEST_HEAD);
    server.handle(handle).serve(ConnectionLimit::of(app)).await
}
