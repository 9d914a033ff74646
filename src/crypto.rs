//! The cryptography behind TLS: `ring`, the smallest and quickest to build of those that rustls takes.

/// Makes it the one that all of TLS uses. Does nothing where it is so already, and in a build without TLS.
pub fn install() {
    #[cfg(feature = "tls")]
    {
        // Fails only where one is installed already, which is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
