//! Replaces the TLS module in a build without TLS. Its types have no values, because such a build rejects the TLS settings.

use std::convert::Infallible;
use std::io;

use super::web_config::TlsSettings;

pub(super) type Config = Infallible;
pub(super) type Encryption = Infallible;

pub(super) const fn encryption(config: Config) -> Encryption {
    match config {}
}

pub(super) async fn accept<S>(encryption: &Encryption, _: S) -> io::Result<S> {
    match *encryption {}
}

pub(super) const fn renew(_: &Encryption, config: Config) {
    match config {}
}

pub(super) fn config(settings: &TlsSettings) -> Result<Config, String> {
    let certificate = settings.certificate.display();
    Err(format!(
        "this build has no TLS for {certificate}; build it with the feature `tls`"
    ))
}
