//! TLS for our own pages. Certificates are renewed while we run, so their files are looked at again.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, SystemTime};

use axum_server::Server;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig, from_tcp_rustls};

use super::access::TlsFiles;

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A server on `listener` with the certificate in `files`, kept up to date.
///
/// # Errors
/// Files that are not there, or not a certificate and its key.
pub(super) async fn from_tcp(
    listener: TcpListener,
    files: &TlsFiles,
) -> io::Result<Server<SocketAddr, RustlsAcceptor>> {
    crate::crypto::install();
    let config = RustlsConfig::from_pem_file(&files.certificate, &files.key)
        .await
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "cannot use the certificate {} with the key {}: {error}",
                    files.certificate.display(),
                    files.key.display()
                ),
            )
        })?;
    tokio::spawn(keep_up_to_date(config.clone(), files.clone()));
    from_tcp_rustls(listener, config)
}

async fn keep_up_to_date(config: RustlsConfig, files: TlsFiles) {
    let mut used = changed(&files);
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let newest = changed(&files);
        if newest == used {
            continue;
        }
        match config
            .reload_from_pem_file(&files.certificate, &files.key)
            .await
        {
            Ok(()) => {
                tracing::info!(certificate = %files.certificate.display(), "certificate renewed");
                used = newest;
            }
            // Perhaps only one of the two files is new yet.
            Err(error) => {
                tracing::warn!(%error, "the new certificate cannot be used; the old one stays")
            }
        }
    }
}

/// When certificate and key were last changed.
fn changed(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    let changed = |path: &Path| std::fs::metadata(path).ok()?.modified().ok();
    [changed(&files.certificate), changed(&files.key)]
}
