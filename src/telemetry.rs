//! The log: to stderr, as text for people or JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry};

use crate::config::{Log, LogFormat};

/// Sets what is logged from now on.
#[derive(Debug)]
pub struct LogLevel(Handle<Targets, Registry>);

impl LogLevel {
    /// Logs what `filter` lets through.
    pub fn set(&self, filter: Targets) {
        // Fails only where the log has ended, and then there is nobody to tell.
        let _ = self.0.reload(filter);
    }
}

/// What `log` lets through.
///
/// # Errors
/// Where the level is none, in words.
pub fn filter(log: &Log) -> Result<Targets, String> {
    log.level.parse::<Targets>().map_err(|error| {
        format!(
            "log.level `{}`: {error}; use error, warn, info, debug, trace or a filter",
            log.level
        )
    })
}

/// Starts logging as `log` says.
///
/// # Errors
/// Where the level is none, in words.
pub fn start(log: &Log) -> Result<LogLevel, String> {
    let (filter, level) = reload::Layer::new(filter(log)?);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match log.format {
        LogFormat::Logfmt => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let started = registry().with(filter).with(lines).try_init();
    started.map_err(|error| error.to_string())?;
    Ok(LogLevel(level))
}
