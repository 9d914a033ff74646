//! The listener: plain or TLS, with limits, until the shutdown.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::accept::Accept;
use axum_server::service::SendService;
use axum_server::{Handle, Server};

use super::patience::Impatient;
use super::places::{Placed, Places};
use super::tls;

/// Requests in flight at a shutdown get this long.
const DRAIN: Duration = Duration::from_secs(3);
/// Whoever takes longer to ask is not asking.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);
/// Bytes of a request's line and headers: a scraper's have a few hundred, with a long token a few thousand.
const LONGEST_HEAD: usize = 16 << 10;

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
    A: Accept<tokio::net::TcpStream, Placed> + Clone + Send + Sync + 'static,
    A::Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    A::Service: SendService<axum::http::Request<hyper::body::Incoming>> + Send + 'static,
    A::Future: Send + 'static,
{
    // Version 1 only: nobody asks for another, and looking out for one would wait without a limit.
    let mut server = server.map(Impatient).http1_only();
    server
        .http_builder()
        .http1()
        .header_read_timeout(LONGEST_QUESTION)
        .max_buf_size(LONGEST_HEAD);
    server
        .handle(handle)
        .serve(Places::for_connections(app))
        .await
}
