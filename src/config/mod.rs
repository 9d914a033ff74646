//! Settings: flags override the environment, which overrides the file, which overrides the embedded defaults; validated once.

pub mod duration;
mod file;
pub mod flags;
mod reload;
mod tables;

pub use reload::Rebuild;
pub use tables::Tables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Serialized};
use serde::{Deserialize, Deserializer, Serialize};
use serde_saphyr::figment::Yaml;

use crate::address::RequestOptions;
use crate::meter::bound_hysteresis::BOUND_WINDOW;
use crate::meter::engine::MeterSettings;
use roofline::spec::deployment::DeploymentFlags;
use roofline::units::Seconds;

use crate::address::{Address, Servers};
use duration::TimeSpan;
use file::ConfigFile;
use flags::SettingsFlags;

/// The commented defaults, which are also the documentation of every key.
pub(crate) const DEFAULTS: &str = include_str!("../../config/default.yaml");

/// Prefix of environment variables that are settings. Not `VLLM_`: vLLM warns about unknown variables with that prefix, and Kubernetes
/// injects `<SERVICE>_PORT` for every service.
const ENV_PREFIX: &str = "ROOFLINE__";

/// Longest trailing window: its spans are kept in memory for each engine.
const LONGEST_WINDOW: Duration = Duration::from_secs(3600);
/// Maximum length of a path of ours, in bytes.
const LONGEST_PATH: usize = 256;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Our own HTTP server.
    pub web: Web,
    /// Our own log.
    pub log: Log,
    /// Base URLs of the API servers of one or more vLLMs.
    pub vllm_url: Servers,
    /// File with the API key, or with the bearer token of a proxy in front of vLLM.
    pub vllm_api_key_file: Option<PathBuf>,
    /// PEM file with the CAs that vLLM's certificate is verified against, instead of the system's.
    pub vllm_ca_file: Option<PathBuf>,
    /// Where GPU readings come from.
    pub gpu_source: GpuSourceSetting,
    /// URL of a dcgm-exporter.
    pub dcgm_url: Option<Address>,
    /// PEM file with the CAs that its certificate is verified against, instead of the system's.
    pub dcgm_ca_file: Option<PathBuf>,
    /// The pod whose GPUs are read from it, as `NAMESPACE/POD`.
    pub dcgm_pod: Option<String>,
    /// UUIDs or indices of the engine's GPUs; empty for all.
    pub gpu_devices: Vec<String>,
    /// Interval at which the sources are read.
    pub tick: TimeSpan,
    /// Length of the trailing window.
    pub window: TimeSpan,
    /// The period of the bound, if it is not the newest seconds. Not a configuration key: only a bounded observation sets it.
    #[serde(skip)]
    pub bound_window: Option<TimeSpan>,
    /// Time without progress after which the engine counts as stalled.
    pub stall_after: TimeSpan,
    /// Share of busy time below which the bound is overhead.
    pub overhead_below: f64,
    /// Whether attainable ceilings and overheads follow the measurements.
    pub calibrate: bool,
    /// Dollars per GPU-hour.
    pub gpu_hour_price: Option<f64>,
    /// Target for time to first token.
    pub slo_ttft: TimeSpan,
    /// Target for time per output token.
    pub slo_tpot: TimeSpan,
    /// vLLM's own flags.
    pub deployment: DeploymentFlags,
    /// The GPU, if it cannot be read.
    pub gpu: Option<String>,
    /// Additions to the GPU table, in its format.
    pub gpus: Vec<serde_json::Value>,
    /// File of coefficients that override the built-in ones.
    pub coefficients: Option<PathBuf>,
    /// Text of the model's config.json from a recording; not a user setting.
    #[serde(skip)]
    pub model_config: Option<String>,
}

/// Our own HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Web {
    /// Listen address.
    #[serde(deserialize_with = "deserialize_listen_address")]
    pub listen_address: SocketAddr,
    /// Path of the metrics.
    pub telemetry_path: String,
    /// TLS and basic authentication.
    pub config: WebConfig,
    /// Leave out `process_*`.
    pub disable_exporter_metrics: bool,
}

/// The exporter toolkit's web configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WebConfig {
    /// Its file.
    pub file: Option<PathBuf>,
}

/// Our own log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Log {
    /// A level or a filter.
    pub level: String,
    /// Format of the lines.
    pub format: LogFormat,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Logfmt,
    /// For machines.
    Json,
}

/// Where GPU readings come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum GpuSourceSetting {
    /// NVML, otherwise dcgm if its URL is set, otherwise none.
    Auto,
    /// The driver's library.
    Nvml,
    /// A dcgm-exporter.
    Dcgm,
    /// No GPU readings.
    None,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read --config.file {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// A key is unknown, or its value has the wrong type.
    #[error("{0}")]
    Layers(String),
    /// A value out of range.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// The problem, and the accepted values.
        problem: String,
    },
}

impl Settings {
    /// The embedded defaults.
    ///
    /// # Errors
    /// Never; a test proves it. The result type keeps a panic out of the program.
    pub fn defaults() -> Result<Self, ConfigError> {
        extract(&Figment::from(Yaml::string(DEFAULTS)), None)
    }

    /// Loads the settings: flags override the environment, which overrides the file, which overrides the defaults.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key, where it was set, and the remedy.
    pub fn load(flags: &SettingsFlags) -> Result<Self, ConfigError> {
        let mut layers = Figment::from(Yaml::string(DEFAULTS));
        let file = flags.config_file.as_deref().map(ConfigFile::read);
        let file = file.transpose()?;
        if let Some(file) = &file {
            layers = layers
                .merge(Yaml::string(&file.text))
                .select(figment::Profile::Default);
        }
        layers = layers
            .merge(environment())
            .merge(Serialized::from(flags.layer(), figment::Profile::Default));
        let settings = extract(&layers, file.as_ref())?;
        settings.check()?;
        Ok(settings)
    }

    /// Settings of the meter.
    #[must_use]
    pub fn meter(&self) -> MeterSettings {
        MeterSettings {
            window: self.window.seconds(),
            bound_window: self.bound_window.map_or(BOUND_WINDOW, TimeSpan::seconds),
            stall_after: self.stall_after.seconds(),
            longest_interval: Seconds(300.0).max(self.window.seconds()),
            overhead_below: self.overhead_below,
            calibrate: self.calibrate,
            gpu_hour_price: self.gpu_hour_price,
        }
    }

    /// Timeout of reading a source: it must end before the next tick.
    #[must_use]
    pub(crate) fn read_limit(&self) -> Duration {
        self.tick.0.mul_f64(0.9)
    }

    /// Request options for vLLM.
    #[must_use]
    pub(crate) fn vllm_request_options(&self) -> RequestOptions {
        RequestOptions {
            key_file: self.vllm_api_key_file.clone(),
            ca_file: self.vllm_ca_file.clone(),
            limit: self.read_limit(),
        }
    }

    /// Request options for the dcgm-exporter.
    #[must_use]
    pub(crate) fn dcgm_request_options(&self) -> RequestOptions {
        RequestOptions {
            key_file: None,
            ca_file: self.dcgm_ca_file.clone(),
            limit: self.read_limit(),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let tick = self.tick.seconds();
        check("tick", (0.2..=60.0).contains(&tick.0), || {
            format!(
                "{} is outside 200ms..1m: GPM needs 200 ms between readings",
                self.tick
            )
        })?;
        check("window", self.window.seconds() >= tick, || {
            format!("{} is shorter than one tick ({})", self.window, self.tick)
        })?;
        for (key, span) in [("window", self.window), ("stall-after", self.stall_after)] {
            check(key, span.0 <= LONGEST_WINDOW, || {
                format!("{span} is longer than an hour, for which no engine's spans are kept")
            })?;
        }
        for (key, span) in [("slo-ttft", self.slo_ttft), ("slo-tpot", self.slo_tpot)] {
            check(key, !span.0.is_zero(), || "0 is no target".to_owned())?;
        }
        check("stall-after", self.stall_after.seconds() >= tick, || {
            format!(
                "{} is shorter than one tick ({})",
                self.stall_after, self.tick
            )
        })?;
        check(
            "overhead-below",
            (0.0..=1.0).contains(&self.overhead_below),
            || format!("{} is not a share between 0 and 1", self.overhead_below),
        )?;
        let price = self.gpu_hour_price.unwrap_or(0.0);
        check("gpu-hour-price", (0.0..=1e6).contains(&price), || {
            format!("{price} is not a price; give dollars per GPU and hour, such as 2.5")
        })?;
        check_telemetry_path(&self.web.telemetry_path)?;
        check(
            "dcgm-url",
            self.gpu_source != GpuSourceSetting::Dcgm || self.dcgm_url.is_some(),
            || {
                "gpu-source is dcgm, so the URL of a dcgm-exporter is needed, such as http://NODE:9400/metrics"
                .to_owned()
            },
        )
    }
}

/// The path must be one that the server can route, and none of its own.
fn check_telemetry_path(path: &str) -> Result<(), ConfigError> {
    let key = "web.telemetry-path";
    check(key, path.starts_with('/'), || {
        format!("`{path}` does not start with /")
    })?;
    let own = path == "/" || path.starts_with("/-/") || path.starts_with("/api/");
    check(key, !own, || {
        format!("`{path}` is a path of the exporter itself; choose another, such as /metrics")
    })?;
    let plain = |char: char| char.is_ascii_alphanumeric() || "/_-.~".contains(char);
    check(
        key,
        path.chars().all(plain) && path.len() <= LONGEST_PATH,
        || {
            format!(
                "`{path}` has more than letters, digits and /_-.~, or more than {LONGEST_PATH} of them"
            )
        },
    )
}

/// Parses `HOST:PORT`, or `:PORT` for all addresses, as Prometheus and its exporters do.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let address = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => text.to_owned(),
    };
    address
        .parse()
        .map_err(|_| format!("`{text}` is no address such as 0.0.0.0:10860, [::]:10860 or :10860"))
}

fn deserialize_listen_address<'de, D: Deserializer<'de>>(
    source: D,
) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(source)?;
    listen_address(&text).map_err(serde::de::Error::custom)
}

fn check(key: &'static str, good: bool, problem: impl Fn() -> String) -> Result<(), ConfigError> {
    if good {
        Ok(())
    } else {
        Err(ConfigError::Value {
            key,
            problem: problem(),
        })
    }
}

/// `ROOFLINE__WEB__LISTEN_ADDRESS` is `web.listen-address`.
fn environment() -> Env {
    Env::prefixed(ENV_PREFIX).map(|key| {
        key.as_str()
            .to_lowercase()
            .replace("__", ".")
            .replace('_', "-")
            .into()
    })
}

fn extract(layers: &Figment, file: Option<&ConfigFile>) -> Result<Settings, ConfigError> {
    layers.extract().map_err(|error| {
        let all: Vec<_> = error
            .into_iter()
            .map(|error| file::explained(&error, file))
            .collect();
        ConfigError::Layers(all.join("; "))
    })
}
