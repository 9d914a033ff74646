//! `LoadArgs`: the flags that describe a load, shared by all commands that run one.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Url;
use serde_json::{Map, Value};

use crate::address::masked;
use crate::config::Settings;
use crate::config::duration::TimeSpan;
use crate::sampler::now;
use crate::source::http::{bearer, trusting};
use crate::source::vllm::base_url;
use loadtest::load::client::client_builder;
use loadtest::load::dataset;
use loadtest::load::prompt::{PromptSource, Synthetic};
use loadtest::load::run::Api;
use loadtest::load::settings::{Arrivals, LengthDistribution, LoadSettings, RunLimit};

use super::usage::UsageError;

/// Default duration of a load.
const DEFAULT_DURATION: Duration = Duration::from_secs(60);

/// The load.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Interface to use: completions (prompts of token ids) or chat (text)
    #[arg(long, value_enum, default_value_t)]
    pub api: Api,
    /// Model name for the requests [default: the server's first model]
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Option<String>,
    /// Concurrent requests; with --request-rate their limit [default: 8, with a rate unlimited]
    #[arg(long, visible_alias = "max-concurrency", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: Option<u32>,
    /// Requests per second, independent of the server, instead of a fixed concurrency
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    pub request_rate: Option<f64>,
    /// Shape of the gaps: 1 is Poisson, less is burstier, more is steadier
    #[arg(long, value_name = "SHAPE", default_value_t = 1.0, requires = "request_rate", value_parser = positive)]
    pub burstiness: f64,
    /// How long to send requests, in seconds or as 5m [default: 60s, without --num-requests]
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub duration: Option<TimeSpan>,
    /// Number of requests to send
    #[arg(long, visible_alias = "num-prompts", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub num_requests: Option<u32>,
    /// Requests before the measurement
    #[arg(
        long,
        visible_alias = "num-warmups",
        value_name = "N",
        default_value_t = 4
    )]
    pub warmup_requests: u32,
    /// Tokens of a prompt: 512, any of 256..1024, or mean and deviation 512~128
    #[arg(long, value_name = "LENGTH", default_value = "512")]
    pub input_len: LengthDistribution,
    /// Tokens of an answer, in the same form
    #[arg(long, value_name = "LENGTH", default_value = "128")]
    pub output_len: LengthDistribution,
    /// Tokens of a prefix that prompts share, in addition to --input-len
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub shared_prefix_len: u32,
    /// Number of such prefixes
    #[arg(long, value_name = "N", default_value_t = 1, requires = "shared_prefix_len", value_parser = clap::value_parser!(u32).range(1..))]
    pub shared_prefixes: u32,
    /// Prompts from a file: JSON lines with `prompt` or `messages` (and `output_tokens`), or a `ShareGPT` list
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shared_prefix_len", "input_len"])]
    pub dataset: Option<PathBuf>,
    /// Let the model end its answers instead of forcing --output-len
    #[arg(long)]
    pub respect_eos: bool,
    /// JSON object whose members are added to every request, for example {"temperature": 0}
    #[arg(long, value_name = "JSON", value_parser = object)]
    pub extra_body: Option<ExtraBody>,
    /// Timeout of one request
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = seconds)]
    pub request_timeout: TimeSpan,
    /// How long running requests may continue after the duration
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = seconds)]
    pub grace: TimeSpan,
    /// End the run when the server has accepted no connection for this long
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = seconds)]
    pub give_up_after: TimeSpan,
    /// Seed of prompts and arrivals [default: random, so that no prompt is in the prefix cache]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Host other than this machine that may be put under load; the host of --vllm-url
    #[arg(long, value_name = "HOST")]
    pub allow_remote_target: Option<String>,
}

/// Members added to every request.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtraBody(pub Map<String, Value>);

/// A client for the server at `url`, with the CAs of `settings`.
fn connection(url: &Url, settings: &Settings) -> Result<reqwest::Client, String> {
    trusting(client_builder(), url, settings.vllm_ca_file.as_deref())
        .map_err(|error| error.to_string())?
        .build()
        .map_err(|error| error.to_string())
}

impl LoadArgs {
    /// The load, on the server of `settings`.
    ///
    /// # Errors
    /// [`UsageError`]: an invalid URL or one of another machine, or an invalid file of prompts.
    pub fn on(&self, settings: &Settings) -> Result<LoadSettings, UsageError> {
        let url = base_url(settings.vllm_url.only().map_err(UsageError::of)?.as_given())
            .map_err(UsageError::of)?;
        self.check_target(&url)?;
        let prompts = match &self.dataset {
            Some(path) => PromptSource::File {
                entries: dataset::read(path, self.api)
                    .map_err(UsageError::of)?
                    .into(),
                output: self.output_len,
            },
            None => PromptSource::Synthetic(Synthetic {
                input: self.input_len,
                output: self.output_len,
                prefix_len: self.shared_prefix_len,
                prefixes: self.shared_prefixes,
            }),
        };
        Ok(LoadSettings {
            shown_url: masked(url.as_str()),
            http: connection(&url, settings).map_err(UsageError::of)?,
            authorization: settings
                .vllm_api_key_file
                .as_deref()
                .map(bearer)
                .transpose()
                .map_err(UsageError::new)?,
            url,
            api: self.api,
            model: self.served_model_name.clone(),
            arrivals: self.arrivals(),
            limit: self.limit(),
            grace: self.grace.0,
            give_up_after: self.give_up_after.0,
            request_timeout: self.request_timeout.0,
            warmup_requests: self.warmup_requests,
            prompts,
            respect_eos: self.respect_eos,
            extra_body: self
                .extra_body
                .clone()
                .map(|body| body.0)
                .unwrap_or_default(),
            seed: self.seed.unwrap_or_else(|| now().0.to_bits()),
        })
    }

    fn arrivals(&self) -> Arrivals {
        match self.request_rate {
            Some(rate) => Arrivals::Open {
                rate,
                burstiness: self.burstiness,
                most: self.concurrency,
            },
            None => Arrivals::Closed {
                concurrency: self.concurrency.unwrap_or(8),
            },
        }
    }

    fn limit(&self) -> RunLimit {
        let duration = self.duration.map(|duration| duration.0);
        RunLimit {
            requests: self.num_requests,
            duration: duration.or_else(|| self.num_requests.is_none().then_some(DEFAULT_DURATION)),
        }
    }

    /// A load on another machine may be an attack: the user must name its host explicitly.
    fn check_target(&self, url: &Url) -> Result<(), UsageError> {
        let host = url.host_str().unwrap_or_default();
        if is_loopback(url) || self.allow_remote_target.as_deref() == Some(host) {
            return Ok(());
        }
        Err(UsageError::of(format!(
            "{url} is not this machine: no load is put on it unless it is named with --allow-remote-target {host}"
        )))
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Parses a time span; a bare number is seconds.
pub(super) fn seconds(text: &str) -> Result<TimeSpan, String> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds)
            .map(TimeSpan)
            .map_err(|error| format!("`{text}`: {error}")),
        Err(_) => text.parse(),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number > 0.0)
        .ok_or_else(|| format!("`{text}` is no positive number"))
}

fn object(text: &str) -> Result<ExtraBody, String> {
    serde_json::from_str(text)
        .map(ExtraBody)
        .map_err(|error| format!("{error}; give a JSON object such as {{\"temperature\": 0}}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn on(url: &str, flags: &[&str]) -> Result<LoadSettings, String> {
        let line =
            Line::try_parse_from([&["test"], flags].concat()).map_err(|error| error.to_string())?;
        let settings = Settings {
            vllm_url: url.to_owned().into(),
            ..Settings::defaults().unwrap()
        };
        line.load.on(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn only_this_machine_is_put_under_load_unless_another_is_named() {
        for url in [
            "http://127.0.0.1:8000",
            "http://localhost:8000/metrics",
            "http://[::1]:1",
        ] {
            on(url, &[]).unwrap();
        }
        let refused = on("http://gpu-7:8000", &[]).unwrap_err();
        assert!(refused.contains("--allow-remote-target gpu-7"), "{refused}");
        on("http://gpu-7:8000", &["--allow-remote-target", "gpu-8"]).unwrap_err();
        on("http://gpu-7:8000", &["--allow-remote-target", "gpu-7"]).unwrap();
    }

    #[test]
    fn a_load_ends_by_time_or_by_count() {
        let limit = |flags: &[&str]| on("http://localhost:1", flags).unwrap().limit;
        assert_eq!(limit(&[]).duration, Some(DEFAULT_DURATION));
        assert_eq!(limit(&["--num-requests", "5"]).duration, None);
        let both = limit(&["--num-prompts", "5", "--duration", "300"]);
        assert_eq!(both.duration, Some(Duration::from_secs(300)));
        assert_eq!(both.requests, Some(5));
        assert_eq!(
            limit(&["--duration", "1m30s"]).duration,
            Some(Duration::from_secs(90))
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for flags in [
            &["--input-len", "0"][..],
            &["--input-len", "9..3"],
            &["--output-len", "5~9"],
            &["--request-rate", "-1"],
            &["--burstiness", "2"],
            &["--duration", "-1"],
            &["--extra-body", "[1]"],
            &["--concurrency", "0"],
        ] {
            assert!(on("http://localhost:1", flags).is_err(), "{flags:?}");
        }
    }
}
