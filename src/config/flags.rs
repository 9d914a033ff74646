//! The settings as command-line flags, with the names of the Prometheus exporter family and of vLLM.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use roofline::spec::deployment::DeploymentFlags;

use super::duration::TimeSpan;
use super::{GpuSourceSetting, LogFormat, listen_address};

/// Settings that a flag can change. Each is also a key of the configuration file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SettingsFlags {
    /// Configuration file (YAML)
    #[arg(
        long = "config.file",
        value_name = "FILE",
        help_heading = "Configuration"
    )]
    pub config_file: Option<PathBuf>,
    /// Where to serve [default: 0.0.0.0:10860]
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        value_parser = listen_address,
        help_heading = "Web"
    )]
    pub listen_address: Option<SocketAddr>,
    /// Path of the metrics [default: /metrics]
    #[arg(long = "web.telemetry-path", value_name = "PATH", help_heading = "Web")]
    pub telemetry_path: Option<String>,
    /// TLS and basic authentication, in the format of the Prometheus exporter toolkit
    #[arg(long = "web.config.file", value_name = "FILE", help_heading = "Web")]
    pub web_config_file: Option<PathBuf>,
    /// Leave out `process_*` metrics
    #[arg(long = "web.disable-exporter-metrics", help_heading = "Web")]
    pub disable_exporter_metrics: bool,
    /// error, warn, info, debug, trace, or a filter [default: info]
    #[arg(long = "log.level", value_name = "LEVEL", help_heading = "Log")]
    pub log_level: Option<String>,
    /// Format of log lines [default: logfmt]
    #[arg(long = "log.format", value_enum, help_heading = "Log")]
    pub log_format: Option<LogFormat>,
    /// Base URL of vLLM's API server; more than once for several [default: <http://127.0.0.1:8000>]
    #[arg(long = "vllm-url", value_name = "URL", help_heading = "Sources")]
    pub vllm_url: Option<Vec<String>>,
    /// File with vLLM's API key, or the bearer token of a proxy in front of it
    #[arg(
        long = "vllm-api-key-file",
        value_name = "FILE",
        help_heading = "Sources"
    )]
    pub vllm_api_key_file: Option<PathBuf>,
    /// PEM file with the CAs to verify vLLM's certificate [default: the system's]
    #[arg(long = "vllm-ca-file", value_name = "FILE", help_heading = "Sources")]
    pub vllm_ca_file: Option<PathBuf>,
    /// Source of GPU readings [default: auto]
    #[arg(long = "gpu-source", value_enum, help_heading = "Sources")]
    pub gpu_source: Option<GpuSourceSetting>,
    /// URL of the dcgm-exporter on this node
    #[arg(long = "dcgm-url", value_name = "URL", help_heading = "Sources")]
    pub dcgm_url: Option<String>,
    /// PEM file with the CAs to verify its certificate [default: the system's]
    #[arg(long = "dcgm-ca-file", value_name = "FILE", help_heading = "Sources")]
    pub dcgm_ca_file: Option<PathBuf>,
    /// Pod whose GPUs are read, as the dcgm-exporter labels them [default: all GPUs]
    #[arg(
        long = "dcgm-pod",
        value_name = "NAMESPACE/POD",
        help_heading = "Sources"
    )]
    pub dcgm_pod: Option<String>,
    /// UUIDs or indices of the engine's GPUs [default: all]
    #[arg(
        long = "gpu-devices",
        value_name = "GPU,…",
        value_delimiter = ',',
        help_heading = "Sources"
    )]
    pub gpu_devices: Option<Vec<String>>,
    /// Interval at which vLLM and the GPUs are read [default: 1s]
    #[arg(long, value_name = "DURATION", help_heading = "Measuring")]
    pub tick: Option<TimeSpan>,
    /// Length of the trailing window of the gauges [default: 10s]
    #[arg(long, value_name = "DURATION", help_heading = "Measuring")]
    pub window: Option<TimeSpan>,
    /// Time without progress after which the engine is stalled [default: 5s]
    #[arg(
        long = "stall-after",
        value_name = "DURATION",
        help_heading = "Measuring"
    )]
    pub stall_after: Option<TimeSpan>,
    /// Share of busy time under which the bound is overhead [default: 0.5]
    #[arg(
        long = "overhead-below",
        value_name = "SHARE",
        value_parser = finite,
        help_heading = "Measuring"
    )]
    pub overhead_below: Option<f64>,
    /// Raise attainable ceilings to measured values, and learn overheads [default: off]
    #[arg(long, help_heading = "Measuring")]
    pub calibrate: bool,
    /// Coefficients of expected times that override built-in ones, for example from `calibrate` (YAML or JSON)
    #[arg(long, value_name = "FILE", help_heading = "Measuring")]
    pub coefficients: Option<PathBuf>,
    /// Dollars per GPU-hour [default: the list price of the GPU, if `gpus` has one]
    #[arg(
        long = "gpu-hour-price",
        value_name = "DOLLARS",
        value_parser = finite,
        help_heading = "Measuring"
    )]
    pub gpu_hour_price: Option<f64>,
    /// Target for time to first token [default: 500ms]
    #[arg(long = "slo-ttft", value_name = "DURATION", help_heading = "Measuring")]
    pub slo_ttft: Option<TimeSpan>,
    /// Target for time per output token [default: 100ms]
    #[arg(long = "slo-tpot", value_name = "DURATION", help_heading = "Measuring")]
    pub slo_tpot: Option<TimeSpan>,
    /// GPU by id, alias or NVML name, if it cannot be read; `none` for no roof
    #[arg(
        long,
        value_name = "GPU",
        help_heading = "Deployment (vLLM's own flags)"
    )]
    pub gpu: Option<String>,
    /// vLLM's own flags.
    #[command(flatten)]
    pub deployment: DeploymentFlags,
}

impl SettingsFlags {
    /// The flags that were set, as a layer of settings.
    #[must_use]
    pub fn layer(&self) -> Value {
        let mut layer = Map::new();
        let mut set = |path: &[&str], value: Value| {
            if !value.is_null() {
                place(&mut layer, path, value);
            }
        };
        set(&["web", "listen-address"], json!(self.listen_address));
        set(&["web", "telemetry-path"], json!(self.telemetry_path));
        set(&["web", "config", "file"], json!(self.web_config_file));
        if self.disable_exporter_metrics {
            set(&["web", "disable-exporter-metrics"], json!(true));
        }
        set(&["log", "level"], json!(self.log_level));
        set(&["log", "format"], json!(self.log_format));
        set(&["vllm-url"], json!(self.vllm_url));
        set(&["vllm-api-key-file"], json!(self.vllm_api_key_file));
        set(&["vllm-ca-file"], json!(self.vllm_ca_file));
        set(&["gpu-source"], json!(self.gpu_source));
        set(&["dcgm-url"], json!(self.dcgm_url));
        set(&["dcgm-ca-file"], json!(self.dcgm_ca_file));
        set(&["dcgm-pod"], json!(self.dcgm_pod));
        set(&["gpu-devices"], json!(self.gpu_devices));
        set(&["tick"], json!(self.tick));
        set(&["window"], json!(self.window));
        set(&["stall-after"], json!(self.stall_after));
        set(&["overhead-below"], json!(self.overhead_below));
        if self.calibrate {
            set(&["calibrate"], json!(true));
        }
        set(&["coefficients"], json!(self.coefficients));
        set(&["gpu-hour-price"], json!(self.gpu_hour_price));
        set(&["slo-ttft"], json!(self.slo_ttft));
        set(&["slo-tpot"], json!(self.slo_tpot));
        set(&["gpu"], json!(self.gpu));
        set(&["deployment"], given(json!(self.deployment)));
        Value::Object(layer)
    }
}

/// A finite number. NaN would be lost on the way into the settings, because JSON has no NaN.
fn finite(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err("not a finite number".to_owned())
    }
}

/// The members that were set: neither null nor a switch that is off; null if there are none.
fn given(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: Map<_, _> = members
                .into_iter()
                .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)))
                .collect();
            if members.is_empty() {
                Value::Null
            } else {
                Value::Object(members)
            }
        }
        other => other,
    }
}

fn place(layer: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [key] => {
            layer.insert((*key).to_owned(), value);
        }
        [room, rest @ ..] => {
            let room = layer
                .entry(*room)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(room) = room {
                place(room, rest, value);
            }
        }
    }
}
