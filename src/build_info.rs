//! Build information of this program.

/// Build information.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build {
    /// Version of the package.
    pub version: &'static str,
    /// Git revision, or `unknown`.
    pub revision: &'static str,
    /// Compiler.
    pub rustc: &'static str,
}

/// Build information of this program.
pub(crate) const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("BUILD_REVISION"),
    rustc: env!("BUILD_RUSTC"),
};

/// The text of `--version`.
pub(crate) const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision ",
    env!("BUILD_REVISION"),
    ", ",
    env!("BUILD_RUSTC"),
    ", ",
    env!("BUILD_TARGET"),
    ")"
);
