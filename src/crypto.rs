//! The cryptography of TLS: `ring`, the smallest of rustls's providers and the quickest to build.

/// Installs it as the provider of all TLS. Does nothing if it is installed, or in a build without TLS.
pub fn install() {
    #[cfg(feature = "tls")]
    {
        // Fails only if a provider is already installed, which is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
