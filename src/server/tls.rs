//! TLS for our own pages, including client certificates.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::regular_file::{self, LARGEST_SETTINGS};

use super::web_config::{ClientAuth, TlsSettings, TlsVersion};

/// The configuration of new connections.
pub(super) type Config = Arc<ServerConfig>;
/// Publishes the configuration in force.
pub(super) type Encryption = Arc<watch::Sender<Config>>;

/// Puts `config` in force.
pub(super) fn encryption(config: Config) -> Encryption {
    Arc::new(watch::Sender::new(config))
}

/// The TLS handshake on `stream`.
///
/// # Errors
/// A protocol error of the client.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    encryption: &Encryption,
    stream: S,
) -> io::Result<TlsStream<S>> {
    let config = Arc::clone(&encryption.borrow());
    TlsAcceptor::from(config).accept(stream).await
}

/// Puts `config` in force for new connections.
pub(super) fn renew(encryption: &Encryption, config: Config) {
    encryption.send_replace(config);
}

/// Reads certificate, key and CAs.
///
/// # Errors
/// Which of them cannot be used, and why.
pub(super) fn config(settings: &TlsSettings) -> Result<Config, String> {
    let problem = |what: &str, error: String| format!("tls_server_config: {what}: {error}");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = read(&settings.key).and_then(|pem| {
        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unreadable(&settings.key, &error))
    });
    let key = key.map_err(|error| problem("key_file", error))?;
    let chain = certificates(&settings.certificate).map_err(|error| problem("cert_file", error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings))
        .map_err(|error| problem("min_version", error.to_string()))?;
    let builder =
        match client_verifier(settings).map_err(|error| problem("client_ca_file", error))? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let (certificate, key) = (settings.certificate.display(), settings.key.display());
        problem(
            "cert_file",
            format!("cannot use {certificate} with the key {key}: {error}"),
        )
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
    let taken = settings.oldest..=settings.newest;
    let taken = all
        .into_iter()
        .filter(|(version, _)| taken.contains(version));
    taken.map(|(_, version)| version).collect()
}

/// The verifier of client certificates, if clients must present one.
fn client_verifier(settings: &TlsSettings) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let Some(file) = &settings.client_ca else {
        return Ok(None);
    };
    let failed = |error: String| format!("cannot use {}: {error}", file.display());
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(file)? {
        authorities
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(authorities.into(), provider);
    let verifier = match settings.client_auth {
        ClientAuth::VerifyClientCertIfGiven => verifier.allow_unauthenticated(),
        ClientAuth::RequireAndVerifyClientCert | ClientAuth::NoClientCert => verifier,
    };
    verifier
        .build()
        .map(Some)
        .map_err(|error| failed(error.to_string()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(&read(file)?).collect::<Result<Vec<_>, _>>();
    match found {
        Err(error) => Err(unreadable(file, &error)),
        Ok(found) if found.is_empty() => Err(format!(
            "{} holds no certificate in PEM form",
            file.display()
        )),
        Ok(found) => Ok(found),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    regular_file::bytes(file, LARGEST_SETTINGS).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &dyn std::fmt::Display) -> String {
    format!("cannot read {}: {error}", file.display())
}
