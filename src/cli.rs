//! The command line: clap types, nothing else.

use clap::{Parser, Subcommand};

use crate::build_info::{BUILD, LONG_VERSION};
use crate::command;

/// What a person types.
#[derive(Debug, Parser)]
#[command(
    name = "vllm-roofline-exporter",
    version = BUILD.version,
    long_version = LONG_VERSION,
    about = "What your GPUs are really doing under vLLM: FLOPs, HBM bytes, MFU, MBU and the bound, against the roofline",
    after_help = "Exit codes: 0 done, 1 ran and failed, 2 usage or configuration."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the sidecar beside vLLM
    Serve(Box<command::serve::ServeArgs>),
    /// Run the whole pipeline on an embedded recording of a real H100; needs no GPU, no vLLM, no network
    Demo(Box<command::demo::DemoArgs>),
    /// Run the pipeline over a capture
    Replay(Box<command::replay::ReplayArgs>),
    /// Write a capture from live sources
    Record(Box<command::record::RecordArgs>),
    /// Show what is found of vLLM, the model and the GPUs, and what is missing; validates a configuration
    Check(Box<command::check::CheckArgs>),
    /// Predict a model on a GPU: bounds, expectations, limits, advice
    Static(Box<command::static_roofline::StaticArgs>),
    /// Compare load tests and captures with the roofline: measured vs predicted, bottlenecks, advice
    Dynamic(Box<command::dynamic::DynamicArgs>),
    /// Write predictions and analyses as one HTML page
    Report(command::report::ReportArgs),
    /// Predict, put a load on the server, analyse and report, all into one directory
    Analyze(Box<command::analyze::AnalyzeArgs>),
    /// Put the same load on a server at rising batch sizes, and name the best
    Sweep(Box<command::sweep::SweepArgs>),
    /// List the GPU table
    Gpus(command::gpus::GpusArgs),
    /// List the metric catalogue
    Metrics(command::metrics::MetricsArgs),
}
