//! The commands: each connects the core to files, sockets and the terminal, and contains nothing else.

mod analysis;
pub mod analyze;
pub mod calibrate;
pub mod check;
pub mod completions;
pub mod demo;
mod deployment;
pub mod diagnose;
pub mod dynamic;
mod gpu_source;
pub mod gpus;
pub mod interrupt;
pub mod load_args;
mod local_vllm;
pub mod measure;
pub mod metrics;
pub mod output;
pub mod progress;
pub mod record;
mod reload;
pub mod replay;
pub mod report;
mod sampling;
mod scenario;
pub mod serve;
pub mod static_roofline;
pub mod supervise;
pub mod sweep;
mod target_flags;
#[cfg(feature = "top")]
pub mod top;
pub mod usage;
mod verdict_text;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::capture::read::CaptureError;
use crate::config::ConfigError;

use output::Printable;
use usage::{Ended, FoundSomething, UsageError};

/// 0 done, 1 ran and failed, 2 usage or configuration, 3 a finding that `diagnose` was asked to fail on. A closed pipe (`| head`) is not a
/// failure.
#[must_use]
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(closed) {
        return ExitCode::SUCCESS;
    }
    if error.is::<FoundSomething>() {
        return ExitCode::from(3);
    }
    if let Some(Ended(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    // If stderr is closed, the message is lost.
    let message = shortened(format!("{error:#}"));
    let _ = writeln!(Printable(io::stderr()), "error: {message}");
    if error.is::<UsageError>() || error.is::<ConfigError>() || error.is::<CaptureError>() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

/// `message` without its middle, if it repeats external input of any length.
fn shortened(message: String) -> String {
    const END: usize = 2000;
    let count = message.chars().count();
    if count <= 2 * END {
        return message;
    }
    let start: String = message.chars().take(END).collect();
    let end: String = message.chars().skip(count - END).collect();
    format!("{start} … {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_keeps_its_start_and_its_end() {
        let message = format!("unknown key {}, see FILE", "é".repeat(1 << 20));
        let shown = shortened(message);
        assert!(shown.starts_with("unknown key é") && shown.ends_with("é, see FILE"));
        assert!(shown.chars().count() < 5000);
        assert_eq!(shortened("short".to_owned()), "short");
    }
}
