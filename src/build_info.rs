//! Build information of this program.

/// Build information.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Version of the package.
    pub version: &'static str,
    /// Git revision, or `unknown`.
    pub revision: &'static str,
    /// Compiler.
    pub rustc: &'static str,
    /// Target triple.
    pub target: &'static str,
}

/// Build information of this program.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("BUILD_REVISION"),
    rustc: env!("BUILD_RUSTC"),
    target: env!("BUILD_TARGET"),
};

/// The text of `--version`.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision ",
    env!("BUILD_REVISION"),
    ", ",
    env!("BUILD_RUSTC"),
    ", ",
    env!("BUILD_TARGET"),
    ")"
);
