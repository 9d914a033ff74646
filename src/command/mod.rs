//! The commands: each wires the core to the world, and nothing more.

mod analysis;
pub mod analyze;
pub mod check;
pub mod demo;
mod deployment;
pub mod dynamic;
mod gpu_source;
pub mod gpus;
pub mod interrupt;
pub mod load_args;
pub mod measure;
pub mod metrics;
pub mod output;
pub mod progress;
pub mod record;
mod reload;
pub mod replay;
pub mod report;
mod scenario;
pub mod serve;
pub mod static_roofline;
pub mod sweep;
mod target_flags;
pub mod usage;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::capture::read::CaptureError;
use crate::cli::Command;
use crate::config::ConfigError;

use output::Printable;
use usage::UsageError;

/// Runs `command`.
///
/// # Errors
/// What went wrong, with its context.
pub fn run(command: Command) -> anyhow::Result<()> {
    let mut out = Printable(io::stdout().lock());
    match command {
        Command::Serve(flags) => {
            drop(out);
            serve::run(&flags)
        }
        Command::Demo(args) => {
            drop(out);
            demo::run(&args)
        }
        Command::Replay(args) => replay::run(&args, &mut out),
        Command::Record(args) => {
            drop(out);
            record::run(&args)
        }
        Command::Check(args) => check::run(&args, &mut out),
        Command::Static(args) => static_roofline::run(&args, &mut out),
        Command::Dynamic(args) => dynamic::run(&args, &mut out),
        Command::Report(args) => report::run(&args, &mut out),
        Command::Analyze(args) => analyze::run(&args, &mut out),
        Command::Sweep(args) => sweep::run(&args, &mut out),
        Command::Gpus(args) => gpus::run(&args, &mut out),
        Command::Metrics(args) => metrics::run(args, &mut out),
    }
}

/// 0 done, 1 ran and failed, 2 usage or configuration. A closed pipe (`| head`) is no failure.
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
    // With stderr closed there is nobody to tell.
    let _ = writeln!(Printable(io::stderr()), "error: {error:#}");
    if error.is::<UsageError>() || error.is::<ConfigError>() || error.is::<CaptureError>() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}
