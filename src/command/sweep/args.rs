//! The flags of `sweep`.

use std::path::PathBuf;

use clap::{ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::command::load_args::{LoadArgs, seconds};
use crate::command::output::OutputFormat;
use crate::config::duration::TimeSpan;
use crate::config::flags::SettingsFlags;
use loadtest::sweep::Objective;
use loadtest::sweep::steps::BatchSteps;

/// Arguments of `sweep`.
#[derive(Args, Clone, Debug)]
pub struct SweepArgs {
    /// Smallest batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Sweep")]
    pub start: u32,
    /// Largest batch
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Sweep")]
    pub end: u32,
    /// How the batch grows
    #[arg(long, value_enum, default_value_t, help_heading = "Sweep")]
    pub steps: BatchSteps,
    /// Factor of geometric steps [default: 2], or increment of linear ones [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Sweep")]
    pub step: Option<u32>,
    /// Objective
    #[arg(long, value_enum, default_value_t, help_heading = "Sweep")]
    pub metric: Objective,
    /// Runs at each setting, to show their spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Sweep")]
    pub repeats: u32,
    /// Percentile that must meet --slo-ttft and --slo-tpot
    #[arg(long, value_name = "P", default_value_t = 50.0, value_parser = percentile, help_heading = "Sweep")]
    pub slo_percentile: f64,
    /// Minimum gain in throughput, in percent, of two steps together for the sweep to continue; smaller differences are ties
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0, value_parser = percentile, help_heading = "Sweep")]
    pub least_gain: f64,
    /// Try every setting, even after saturation
    #[arg(long, help_heading = "Sweep")]
    pub no_early_stop: bool,
    /// Shell command that starts the server, restarted for each setting: {batch}, {`gpu_memory_utilization`} and {`max_num_batched_tokens`}
    /// are filled in; it must serve at --vllm-url
    #[arg(long, value_name = "COMMAND", help_heading = "Sweep")]
    pub launch: Option<String>,
    /// Time limit for the launched server to become ready
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = seconds, help_heading = "Sweep")]
    pub launch_timeout: TimeSpan,
    /// Directory for the results of all runs and the logs of all servers
    #[arg(long, value_name = "DIR", help_heading = "Sweep")]
    pub save_results: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// The load at each setting.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Settings, two of which may be lists.
    #[command(flatten)]
    pub grid: GridFlags,
}

fn percentile(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number| (0.0..=100.0).contains(number))
        .ok_or_else(|| format!("`{text}` is no number from 0 to 100"))
}

/// Settings of `serve`, where two of vLLM's flags may be lists: with --launch every combination is tried.
#[derive(Clone, Debug)]
pub struct GridFlags {
    /// The settings, with the first of each list.
    pub settings: SettingsFlags,
    /// Values of `--gpu-memory-utilization`.
    pub gpu_memory_utilization: Vec<f64>,
    /// Values of `--max-num-batched-tokens`.
    pub max_num_batched_tokens: Vec<u64>,
}

const LISTS: [&str; 2] = ["gpu_memory_utilization", "max_num_batched_tokens"];

impl Args for GridFlags {
    fn augment_args(command: Command) -> Command {
        LISTS
            .into_iter()
            .fold(SettingsFlags::augment_args(command), |command, list| {
                command.mut_arg(list, |argument| {
                    argument.action(ArgAction::Append).value_delimiter(',')
                })
            })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GridFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        let [utilization, tokens] = LISTS;
        // Read before the settings, which keep only the first of each list.
        let gpu_memory_utilization = list(matches, utilization);
        let max_num_batched_tokens = list(matches, tokens);
        Ok(Self {
            gpu_memory_utilization,
            max_num_batched_tokens,
            settings: SettingsFlags::from_arg_matches_mut(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn list<T: Copy + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    matches
        .get_many(name)
        .map(|values| values.copied().collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sweep: SweepArgs,
    }

    #[test]
    fn two_flags_of_vllm_may_be_lists() {
        let line = "sweep --gpu-memory-utilization 0.8,0.9 --max-num-batched-tokens 2k,8192 --max-num-seqs 4 --gpu none";
        let sweep = Line::try_parse_from(line.split(' ')).unwrap().sweep;
        assert_eq!(sweep.grid.gpu_memory_utilization, [0.8, 0.9]);
        assert_eq!(sweep.grid.max_num_batched_tokens, [2000, 8192]);
        let deployment = sweep.grid.settings.deployment;
        assert_eq!(deployment.gpu_memory_utilization, Some(0.8));
        assert_eq!(deployment.max_num_seqs, Some(4));
        let none = Line::try_parse_from(["sweep"]).unwrap().sweep.grid;
        assert!(none.gpu_memory_utilization.is_empty());
    }
}
