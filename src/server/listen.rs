//! The listener: plain or TLS, with limits, until the shutdown.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::accept::Accept;
use axum_server::service::SendService;
use axum_server::{Handle, Server};

use super::access::TlsFiles;
use super::patience::Impatient;
use super::places::{Placed, Places};

/// Requests in flight at a shutdown get this long.
const DRAIN: Duration = Duration::from_secs(3);
/// Whoever takes longer to ask is not asking.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);
/// Bytes of a request's line and headers: a scraper's have a few hundred, with a long token a few thousand.
const LONGEST_HEAD: usize = 16 << 10;

/// Serves `app` until `shutdown`, then lets requests in flight finish within a limit.
///
/// # Errors
/// What the system says of the listener, and of certificate and key.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    tls: Option<&TlsFiles>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let handle = Handle::new();
    let ending = handle.clone();
    tokio::spawn(async move {
        shutdown.await;
        ending.graceful_shutdown(Some(DRAIN));
    });
    match tls {
        None => run(axum_server::from_tcp(listener)?, handle, app).await,
        Some(files) => {
            #[cfg(feature = "tls")]
            return run(super::tls::from_tcp(listener, files).await?, handle, app).await;
            #[cfg(not(feature = "tls"))]
            Err(io::Error::other(format!(
                "this build has no TLS for {}",
                files.certificate.display()
            )))
        }
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
