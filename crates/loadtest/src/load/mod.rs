//! The load generator: puts a load on a server of the `OpenAI` interface and writes down what each request saw.
//!
//! Data flows one way: `settings → (prompt, arrival) → client → timeline → run_stats → LoadRun`. [`driver`] alone decides when a run
//! ends. Every request keeps its own time line, so that percentiles need no buckets; what the client itself costs is measured
//! beside it ([`probe`]).

pub mod arrival;
pub mod client;
pub mod dataset;
pub mod driver;
pub mod failure;
pub mod phase;
pub mod preflight;
pub mod probe;
pub mod prompt;
pub mod run;
pub mod run_stats;
pub mod settings;
pub mod sse;
pub mod timeline;
mod worker_pool;

pub use driver::run;
pub use run::LoadRun;
pub use run_stats::RunProgress;
pub use settings::LoadSettings;

/// Why there is no load test.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The server is not there.
    #[error("cannot reach {url}: {cause}; is the server up, and --vllm-url right?")]
    Unreachable {
        /// Its URL.
        url: String,
        /// What happened.
        cause: String,
    },
    /// The server serves other models.
    #[error("{url} does not serve `{name}`; it serves {served}: choose with --served-model-name")]
    WrongModel {
        /// The model asked for.
        name: String,
        /// Its URL.
        url: String,
        /// What it serves.
        served: String,
    },
    /// The server refuses requests like these.
    #[error("{0}")]
    Refused(String),
    /// The client cannot be set up.
    #[error("cannot set up the load: {0}")]
    Client(String),
    /// Told to stop before there was anything to keep.
    #[error("interrupted before measuring began")]
    Interrupted,
}

impl LoadError {
    /// Whether what was asked for is wrong, rather than the server.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::WrongModel { .. } | Self::Refused(_))
    }
}
