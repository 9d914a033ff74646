//! The command line: clap types, and vLLM's spellings brought to clap's.

use std::io::Write;

use clap::{CommandFactory, Parser, Subcommand};

use crate::build_info::{BUILD, LONG_VERSION};
use crate::command;
use roofline::spec::deployment::command_line::{Line, spelled_out};
use roofline::spec::deployment::takes;

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
    #[command(after_help = PASTING)]
    Static(Box<command::static_roofline::StaticArgs>),
    /// Compare load tests and captures with the roofline: measured vs predicted, bottlenecks, advice
    Dynamic(Box<command::dynamic::DynamicArgs>),
    /// Write predictions and analyses as one HTML page
    Report(command::report::ReportArgs),
    /// Predict, put a load on the server, analyse and report, all into one directory
    Analyze(Box<command::analyze::AnalyzeArgs>),
    /// Put the same load on a server at rising batch sizes, and name the best
    Sweep(Box<command::sweep::SweepArgs>),
    /// Fit the coefficients of expected times to a recording of your own
    Calibrate(Box<command::calibrate::CalibrateArgs>),
    /// List the GPU table
    Gpus(command::gpus::GpusArgs),
    /// List the metric catalogue
    Metrics(command::metrics::MetricsArgs),
}

/// How a line of vLLM's is taken over.
const PASTING: &str = "\
A `vllm serve` line can be pasted, at the end or in quotes; of its flags, those above count and the others are named and left out:
  static --gpu H100 vllm serve meta-llama/Llama-3.1-8B -tp 2 --port 8000
  static --gpu H100 --vllm-args 'meta-llama/Llama-3.1-8B -tp 2 --port 8000'
Explicit flags win over those of the line.";

impl Cli {
    /// Reads the program's arguments; tells of flags of vLLM's that say nothing here. Ends the program where they are wrong.
    #[must_use]
    pub fn from_arguments() -> Self {
        let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let (words, ignored) = understood(words.collect());
        if !ignored.is_empty() {
            // With stderr closed there is nobody to tell.
            let _ = writeln!(
                std::io::stderr(),
                "note: left out, as it says nothing here: {}",
                ignored.join(", ")
            );
        }
        Self::parse_from(words)
    }
}

/// `words` with vLLM's spellings, its model without a flag and its pasted line brought to clap's form, and the flags left out.
/// Commands that do not describe a deployment keep their words.
#[must_use]
pub fn understood(words: Vec<String>) -> (Vec<String>, Vec<String>) {
    let cli = Cli::command();
    let command = words.get(1).and_then(|name| cli.find_subcommand(name));
    let Some(command) = command.filter(|command| takes(command, "tensor-parallel-size").is_some())
    else {
        return (words, Vec::new());
    };
    let (own, pasted) = parted(&words[2..]);
    let names_model = command.get_positionals().next().is_none();
    let known = |name: &str| takes(command, name);
    let own = spelled_out(Line::Ours { names_model }, own, known);
    let pasted = spelled_out(Line::Pasted, pasted, known);
    let name_of = |argument: &String| argument.split('=').next().map(str::to_owned);
    let given: Vec<_> = own.arguments.iter().filter_map(name_of).collect();
    let mut all = words[..2].to_vec();
    all.extend(
        pasted
            .arguments
            .into_iter()
            .filter(|argument| name_of(argument).is_none_or(|name| !given.contains(&name))),
    );
    all.extend(own.arguments);
    (all, [own.ignored, pasted.ignored].concat())
}

/// Our own words, and those of vLLM's line: after `vllm serve`, or in `--vllm-args`.
fn parted(words: &[String]) -> (Vec<String>, Vec<String>) {
    let starts = |pair: &[String]| pair[0] == "vllm" && pair[1] == "serve";
    let at = words.windows(2).position(starts).unwrap_or(words.len());
    let (mut own, mut pasted) = (Vec::new(), words[at..].to_vec());
    let mut rest = words[..at].iter();
    while let Some(word) = rest.next() {
        let line = match word.strip_prefix("--vllm-args") {
            Some("") => rest.next().map(String::as_str),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        match line {
            None => own.push(word.clone()),
            Some(line) => {
                let mut quoted = shlex::split(line)
                    .unwrap_or_else(|| line.split_whitespace().map(str::to_owned).collect());
                if quoted.first().is_some_and(|first| first == "vllm") {
                    quoted.remove(0);
                }
                if quoted.first().is_none_or(|first| first != "serve") {
                    quoted.insert(0, "serve".to_owned());
                }
                pasted.extend(quoted);
            }
        }
    }
    (own, pasted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understand(words: &[&str]) -> (String, Vec<String>) {
        let words = ["program"].iter().chain(words);
        let (words, ignored) = understood(words.map(|word| (*word).to_owned()).collect());
        (words[1..].join(" "), ignored)
    }

    #[test]
    fn a_pasted_line_yields_to_explicit_flags() {
        let expected = "static --model=m --gpu=H100 --tensor-parallel-size=4";
        let pasted = [
            "static", "--gpu", "H100", "-tp", "4", "vllm", "serve", "m", "-tp", "2", "--port", "1",
        ];
        let quoted = [
            "static",
            "--vllm-args",
            "vllm serve m -tp 2 --port 1",
            "--gpu",
            "H100",
            "-tp=4",
        ];
        for words in [&pasted[..], &quoted[..]] {
            let (understood, ignored) = understand(words);
            assert_eq!(understood, expected);
            assert_eq!(ignored, ["--port"]);
        }
    }

    #[test]
    fn a_misspelt_flag_in_a_pasted_line_is_an_error_that_names_the_right_one() {
        let words = [
            "static",
            "--gpu",
            "H100",
            "vllm",
            "serve",
            "m",
            "--tensor-paralel-size",
            "8",
        ];
        let (line, ignored) = understand(&words);
        assert!(ignored.is_empty());
        let words = ["program"].into_iter().chain(line.split(' '));
        let error = Cli::try_parse_from(words)
            .expect_err("misspelt")
            .to_string();
        assert!(error.contains("--tensor-parallel-size"), "{error}");
    }

    #[test]
    fn other_commands_keep_their_words() {
        let (words, ignored) = understand(&["gpus", "vllm", "serve", "-tp"]);
        assert_eq!(words, "gpus vllm serve -tp");
        assert!(ignored.is_empty());
    }

    #[test]
    fn every_understood_word_is_one_that_clap_knows() {
        let line = "static m --gpu H100 -tp 2 -pp 1 -dp 1 -q awq -ep --kv_cache_dtype fp8 --spec-tokens 3 --no-enforce-eager \
                    --batch 1,2 --served-model-name a b --format json";
        let words: Vec<&str> = line.split_whitespace().collect();
        let words = ["program"].iter().chain(&words);
        let (words, _) = understood(words.map(|word| (*word).to_owned()).collect());
        let parsed = Cli::try_parse_from(words).expect("known");
        let Command::Static(args) = parsed.command else {
            panic!("{parsed:?}");
        };
        assert_eq!(args.deployment.model.as_deref(), Some("m"));
        assert_eq!(args.deployment.tensor_parallel_size, Some(2));
        assert_eq!(
            args.deployment.speculative_config.as_deref(),
            Some(r#"{"num_speculative_tokens":3}"#)
        );
    }
}
