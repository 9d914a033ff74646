//! The log: to stderr, as logfmt or JSON, one event per line. With the feature `otlp`, metrics pushed over OTLP.

mod limit;
mod logfmt;
#[cfg(feature = "otlp")]
pub mod otlp;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry};

use crate::config::{Log, LogFormat};

use limit::Limited;
use logfmt::Logfmt;

/// Changes the log filter at run time.
#[derive(Debug)]
pub struct LogLevel(Handle<Targets, Registry>);

impl LogLevel {
    /// Applies `filter`.
    pub fn set(&self, filter: Targets) {
        // Fails only after the log has ended.
        let _ = self.0.reload(filter);
    }
}

/// The filter for `log`.
///
/// # Errors
/// An invalid level, in words.
pub fn filter(log: &Log) -> Result<Targets, String> {
    let failed = |why: &str| {
        format!(
            "log.level `{}`: {why}; use off, error, warn, info, debug, trace, or a filter such as info,hyper=debug",
            log.level
        )
    };
    // The library treats a lone word as a target that is logged in full, and silences everything else.
    let lone = log.level.split(',').map(str::trim);
    let mut lone = lone.filter(|part| !part.contains('='));
    // It treats an empty word as an error level.
    let is_none = |word: &&str| word.is_empty() || word.parse::<LevelFilter>().is_err();
    if let Some(word) = lone.find(is_none) {
        return Err(failed(&format!("`{word}` is no level")));
    }
    log.level
        .parse::<Targets>()
        .map_err(|error| failed(&error.to_string()))
}

/// Starts logging with `log`.
///
/// # Errors
/// An invalid level, in words.
pub fn start(log: &Log) -> Result<LogLevel, String> {
    let (filter, level) = reload::Layer::new(filter(log)?);
    let lines = fmt::layer()
        .with_writer(Limited::new(std::io::stderr))
        .with_target(false)
        .with_ansi(false);
    let lines = match log.format {
        LogFormat::Logfmt => lines.event_format(Logfmt).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let started = registry().with(filter).with(lines).try_init();
    started.map_err(|error| error.to_string())?;
    Ok(LogLevel(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        let filter = |level: &str| {
            filter(&Log {
                level: level.to_owned(),
                format: LogFormat::Logfmt,
            })
        };
        for good in ["info", "off", "INFO", "warn,hyper=debug"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["loud", "", "info,loud", "hyper=loud"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
