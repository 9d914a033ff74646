//! `LoadSettings`: the load and its server, validated.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Normal};
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde_json::{Map, Value};

use super::prompt::PromptSource;
use super::run::{Api, Mode, RequestedLoad};

/// A load and its server.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// Base URL of the server, ending in `/`.
    pub url: Url,
    /// The URL without its password, for display.
    pub shown_url: String,
    /// HTTP client; made from [`client_builder`](super::client::client_builder).
    pub http: reqwest::Client,
    /// The header with the server's API key.
    pub authorization: Option<HeaderValue>,
    /// Which of its interfaces to use.
    pub api: Api,
    /// Model name for the requests; the server's first model where none is given.
    pub model: Option<String>,
    /// When requests are sent.
    pub arrivals: Arrivals,
    /// When the run ends.
    pub limit: RunLimit,
    /// How long running requests may continue after that.
    pub grace: Duration,
    /// Timeout of one request.
    pub request_timeout: Duration,
    /// The run ends when the server has accepted no connection for this long.
    pub give_up_after: Duration,
    /// Requests before the measurement.
    pub warmup_requests: u32,
    /// The prompts.
    pub prompts: PromptSource,
    /// Lets the model end its answers early.
    pub respect_eos: bool,
    /// Members added to every request's body.
    pub extra_body: Map<String, Value>,
    /// Seed of prompts and arrivals: the same seed gives the same load.
    pub seed: u64,
}

impl LoadSettings {
    /// The load as it appears in results; lengths are known only afterwards.
    #[must_use]
    pub const fn load(&self) -> RequestedLoad {
        let (mode, request_rate, burstiness) = match self.arrivals {
            Arrivals::Closed { .. } => (Mode::Closed, None, None),
            Arrivals::Open {
                rate, burstiness, ..
            } => (Mode::Open, Some(rate), Some(burstiness)),
        };
        RequestedLoad {
            mode,
            concurrency: self.arrivals.most(),
            request_rate,
            burstiness,
            input_len: None,
            output_len: None,
            shared_prefix_len: match self.prompts {
                PromptSource::Synthetic(synthetic) => synthetic.prefix_len,
                PromptSource::File { .. } => 0,
            },
        }
    }
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// A fixed concurrency: the next request is sent when one ends.
    Closed {
        /// The concurrency.
        concurrency: u32,
    },
    /// At a rate, whatever the server does.
    Open {
        /// Requests per second.
        rate: f64,
        /// Shape of the gamma distribution of the gaps: 1 is Poisson, less is burstier.
        burstiness: f64,
        /// Limit of concurrent requests; later ones wait.
        most: Option<u32>,
    },
}

impl Arrivals {
    /// The limit of concurrent requests, if any.
    #[must_use]
    pub const fn most(self) -> Option<u32> {
        match self {
            Self::Closed { concurrency } => Some(concurrency),
            Self::Open { most, .. } => most,
        }
    }
}

/// When a run ends: whichever limit comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimit {
    /// Number of requests.
    pub requests: Option<u32>,
    /// Duration.
    pub duration: Option<Duration>,
}

/// A distribution of lengths in tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LengthDistribution {
    /// All lengths equal.
    Fixed(u32),
    /// Any from `min` to `max`, both included.
    Uniform {
        /// The shortest.
        min: u32,
        /// The longest.
        max: u32,
    },
    /// Normal, rounded, at least 1.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        deviation: f64,
    },
}

impl LengthDistribution {
    /// A length, at least 1.
    pub fn sample(&self, random: &mut impl Rng) -> u32 {
        match *self {
            Self::Fixed(length) => length,
            Self::Uniform { min, max } => random.random_range(min..=max),
            Self::Normal { mean, deviation } => {
                let length =
                    Normal::new(mean, deviation).map_or(mean, |normal| normal.sample(random));
                rounded(length)
            }
        }
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match *self {
            Self::Fixed(length) => f64::from(length),
            Self::Uniform { min, max } => f64::midpoint(f64::from(min), f64::from(max)),
            Self::Normal { mean, .. } => mean,
        }
    }
}

/// The nearest integer length, at least 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive; what exceeds u32 saturates"
)]
const fn rounded(length: f64) -> u32 {
    length.round().max(1.0) as u32
}

impl FromStr for LengthDistribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = if let Some((min, max)) = text.split_once("..") {
            min.parse()
                .ok()
                .zip(max.parse().ok())
                .filter(|(min, max)| (1..=*max).contains(min))
                .map(|(min, max)| Self::Uniform { min, max })
        } else if let Some((mean, deviation)) = text.split_once('~') {
            mean.parse()
                .ok()
                .zip(deviation.parse().ok())
                .filter(|(mean, deviation): &(u32, u32)| *mean > 0 && deviation < mean)
                .map(|(mean, deviation)| Self::Normal {
                    mean: f64::from(mean),
                    deviation: f64::from(deviation),
                })
        } else {
            text.parse()
                .ok()
                .filter(|length| *length > 0)
                .map(Self::Fixed)
        };
        parsed.ok_or_else(|| {
            format!("`{text}` is no length; give 512, a range such as 256..1024, or a mean and a smaller deviation such as 512~128")
        })
    }
}

impl fmt::Display for LengthDistribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(length) => write!(formatter, "{length}"),
            Self::Uniform { min, max } => write!(formatter, "{min}..{max}"),
            Self::Normal { mean, deviation } => write!(formatter, "{mean}~{deviation}"),
        }
    }
}
