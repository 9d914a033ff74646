//! The load generator: puts a load on a server with the `OpenAI` interface and records the timing of each request.
//!
//! Data flows one way: `settings → (prompt, arrival) → client → timeline → run_stats → LoadRun`. Only [`driver`] decides when a run ends.
//! Every request keeps its own timeline, so percentiles need no buckets; [`probe`] measures the client's own overhead.

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

/// Why a load test did not run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The server cannot be reached.
    #[error("cannot reach {url}: {cause}; is the server up, and --vllm-url right?")]
    Unreachable {
        /// Its URL.
        url: String,
        /// The cause.
        cause: String,
    },
    /// The server does not serve this model.
    #[error("{url} does not serve `{name}`; it serves {served}: choose with --served-model-name")]
    WrongModel {
        /// The requested model.
        name: String,
        /// Its URL.
        url: String,
        /// The models that it serves.
        served: String,
    },
    /// The server refuses requests like these.
    #[error("{0}")]
    Refused(String),
    /// The client cannot be set up.
    #[error("cannot set up the load: {0}")]
    Client(String),
    /// Interrupted before any request completed.
    #[error("interrupted before measuring began")]
    Interrupted,
}

impl LoadError {
    /// Whether the request is wrong, not the server.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::WrongModel { .. } | Self::Refused(_))
    }
}
