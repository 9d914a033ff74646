//! The share of one of several servers in the limits of our own page: engines and label bytes.

use crate::sample::engine::EngineTotals;
use crate::sample::page::{MOST_ENGINES, MOST_LABEL_BYTES};

/// Why a page of one of several servers is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// More engines than its share.
    #[error(
        "the page has more than {most} engines, which is the share of one of {servers} servers; give it an exporter of its own"
    )]
    TooManyEngines {
        /// The share.
        most: usize,
        /// Number of servers.
        servers: usize,
    },
    /// More bytes of labels than its share.
    #[error(
        "the labels model_name and engine have more than {most} bytes, which is the share of one of {servers} servers; give vLLM a shorter --served-model-name"
    )]
    LabelsTooLong {
        /// The share.
        most: usize,
        /// Number of servers.
        servers: usize,
    },
}

impl ShareError {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::TooManyEngines { .. } => "too_many_engines",
            Self::LabelsTooLong { .. } => "too_large",
        }
    }
}

/// Whether `engines` are within the share of one of this many `servers`. The shares are equal, so no server reduces another's.
///
/// # Errors
/// The limit that is exceeded.
pub(crate) fn within_share(engines: &[EngineTotals], servers: usize) -> Result<(), ShareError> {
    let servers = servers.max(1);
    let most = MOST_ENGINES / servers;
    if engines.len() > most {
        return Err(ShareError::TooManyEngines { most, servers });
    }
    let bytes = |engine: &EngineTotals| engine.key.model_name.len() + engine.key.engine.len();
    let most = MOST_LABEL_BYTES / servers;
    if engines.iter().map(bytes).sum::<usize>() > most {
        return Err(ShareError::LabelsTooLong { most, servers });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::page;
    use roofline::units::Seconds;

    fn engines(count: usize, model: &str) -> Vec<EngineTotals> {
        let line = |engine: usize| {
            format!("vllm:num_requests_running{{engine=\"{engine}\",model_name=\"{model}\"}} 1\n")
        };
        let page: String = (0..count).map(line).collect();
        page::read(&page, Seconds(1.0)).unwrap()
    }

    #[test]
    fn what_several_servers_show_is_no_more_than_what_one_may() {
        assert_eq!(within_share(&engines(MOST_ENGINES, "m"), 1), Ok(()));
        for servers in [2, 8, 32] {
            let refused = |engines: &[EngineTotals]| {
                let within = within_share(engines, servers);
                within.err().map(ShareError::reason)
            };
            let most = MOST_ENGINES / servers;
            assert_eq!(refused(&engines(most, "m")), None);
            assert_eq!(refused(&engines(most + 1, "m")), Some("too_many_engines"));
            let long = "m".repeat(MOST_LABEL_BYTES / servers);
            assert_eq!(refused(&engines(1, &long)), Some("too_large"));
        }
    }
}
