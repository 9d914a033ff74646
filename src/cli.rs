//! The command line: clap types, normalisation of vLLM's spellings, and dispatch of the commands.

use std::io::{self, Write};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::build_info::{BUILD, LONG_VERSION};
use crate::command;
use crate::command::output::{Printable, fit};
use roofline::spec::deployment::command_line::{LineOrigin, normalize};
use roofline::spec::deployment::takes;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "vllm-roofline-exporter",
    version = BUILD.version,
    long_version = LONG_VERSION,
    about = "What your GPUs are really doing under vLLM: FLOPs, HBM bytes, MFU, MBU and the bound, against the roofline",
    after_help = EXAMPLES
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// When to use colours; `auto` follows the terminal and `NO_COLOR`
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        global = true,
        help_heading = "Output"
    )]
    pub color: clap::ColorChoice,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the sidecar beside vLLM
    Serve(Box<command::serve::ServeArgs>),
    /// Run the whole pipeline on an embedded recording of a real H100; needs no GPU, no vLLM, no network
    Demo(Box<command::demo::DemoArgs>),
    /// Report what holds vLLM back under the current traffic, and what would help
    #[command(after_help = DIAGNOSE)]
    Diagnose(Box<command::diagnose::DiagnoseArgs>),
    /// Show the live page in a terminal: the verdict, the roofline, the time by component
    #[cfg(feature = "top")]
    Top(Box<command::top::TopArgs>),
    /// Run the pipeline over a capture
    Replay(Box<command::replay::ReplayArgs>),
    /// Record a capture from live sources
    Record(Box<command::record::RecordArgs>),
    /// Report what is known about vLLM, the model and the GPUs, and what is missing; validate a configuration
    Check(Box<command::check::CheckArgs>),
    /// Predict a model on a GPU: bounds, expectations, limits, advice
    #[command(after_help = PASTING)]
    Static(Box<command::static_roofline::StaticArgs>),
    /// Compare load tests and captures with the roofline: measured vs predicted, bottlenecks, advice
    Dynamic(Box<command::dynamic::DynamicArgs>),
    /// Write predictions and analyses as one HTML page
    Report(command::report::ReportArgs),
    /// Predict, run a load on the server, analyse and report, into one directory
    Analyze(Box<command::analyze::AnalyzeArgs>),
    /// Run the same load on a server at rising batch sizes, and report the best
    Sweep(Box<command::sweep::SweepArgs>),
    /// Fit the coefficients of expected times to your own recording
    Calibrate(Box<command::calibrate::CalibrateArgs>),
    /// List the GPU table
    Gpus(command::gpus::GpusArgs),
    /// List the metric catalogue
    Metrics(command::metrics::MetricsArgs),
    /// Print completions for a shell
    #[command(after_help = COMPLETIONS)]
    Completions(command::completions::CompletionsArgs),
    /// Write manual pages
    Manual(command::completions::ManualArgs),
    /// Run a shell command and stop it with every process that it starts; used by `--launch`
    #[command(hide = true)]
    Supervise(command::supervise::SuperviseArgs),
}

/// Where to begin.
const EXAMPLES: &str = "\
Exit codes: 0 done, 1 ran and failed, 2 usage or configuration, 3 what `diagnose` was asked to fail on.
Examples:
  vllm-roofline-exporter demo
  vllm-roofline-exporter diagnose --vllm-url http://127.0.0.1:8000
  vllm-roofline-exporter serve --vllm-url http://127.0.0.1:8000 --gpu H100";

/// How to install completions.
const COMPLETIONS: &str = "\
Examples:
  vllm-roofline-exporter completions bash > ~/.local/share/bash-completion/completions/vllm-roofline-exporter
  vllm-roofline-exporter completions zsh > \"${fpath[1]}/_vllm-roofline-exporter\"
  vllm-roofline-exporter completions fish > ~/.config/fish/completions/vllm-roofline-exporter.fish";

/// Headings of flags without effect for a command. They are still accepted, but left out of its help.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    ("demo", &["Sources"]),
    ("diagnose", &["Web", "Log"]),
    ("record", &["Web"]),
    ("replay", &["Web", "Log", "Sources"]),
    ("top", &["Web", "Log"]),
];

/// Examples and exit codes of `diagnose`.
const DIAGNOSE: &str = "\
Exit codes: 0 healthy, 1 ran and failed, 2 usage or configuration, 3 a finding at or above --fail-on.
Examples:
  diagnose --duration 60s
  diagnose --vllm-url http://vllm:8000 --fail-on critical --format json";

/// How to paste a vLLM command line.
const PASTING: &str = "\
A `vllm serve` line can be pasted, at the end or in quotes; of its flags, those above count and the others are named and left out:
  static --gpu H100 vllm serve meta-llama/Llama-3.1-8B -tp 2 --port 8000
  static --gpu H100 --vllm-args 'meta-llama/Llama-3.1-8B -tp 2 --port 8000'
Explicit flags win over those of the line.";

/// The note on flags of vLLM that were left out.
fn note(ignored: &[String]) -> String {
    let address = |flag: &String| ["--port", "--host"].contains(&flag.as_str());
    let hint = if ignored.iter().any(address) {
        " (the exporter's own address is --web.listen-address)"
    } else {
        ""
    };
    format!(
        "note: vLLM's flag without effect here: {}{hint}",
        ignored.join(", ")
    )
}

impl Cli {
    /// Parses the program's arguments, and reports vLLM flags that have no effect here. Exits on invalid arguments.
    #[must_use]
    pub fn from_arguments() -> Self {
        let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let (words, ignored) = understood(words.collect());
        if !ignored.is_empty() {
            // If stderr is closed, the message is lost.
            let _ = writeln!(io::stderr(), "{}", note(&ignored));
        }
        let read = described().try_get_matches_from(words);
        match read.and_then(|matches| Self::from_arg_matches(&matches)) {
            Ok(cli) => cli,
            Err(error) => error.exit(),
        }
    }

    /// Runs the command.
    ///
    /// # Errors
    /// The error with its context.
    pub fn run(self) -> anyhow::Result<()> {
        fit::to_terminal();
        let mut out = Printable(io::stdout().lock());
        match self.command {
            Command::Serve(flags) => {
                drop(out);
                command::serve::run(&flags)
            }
            Command::Demo(args) => {
                drop(out);
                command::demo::run(&args)
            }
            #[cfg(feature = "top")]
            // The terminal view writes its own control sequences.
            Command::Top(args) => {
                drop(out);
                command::top::run(&args, self.color, &mut io::stdout().lock())
            }
            Command::Diagnose(args) => command::diagnose::run(&args, &mut out),
            Command::Replay(args) => command::replay::run(&args, &mut out),
            Command::Record(args) => {
                drop(out);
                command::record::run(&args)
            }
            Command::Check(args) => command::check::run(&args, &mut out),
            Command::Static(args) => command::static_roofline::run(&args, &mut out),
            Command::Dynamic(args) => command::dynamic::run(&args, &mut out),
            Command::Report(args) => command::report::run(&args, &mut out),
            Command::Analyze(args) => command::analyze::run(&args, &mut out),
            Command::Sweep(args) => command::sweep::run(&args, &mut out),
            Command::Completions(args) => command::completions::run(&args, described(), &mut out),
            Command::Supervise(args) => command::supervise::run(&args),
            Command::Manual(args) => command::completions::manual(&args, described()),
            Command::Calibrate(args) => command::calibrate::run(&args, &mut out),
            Command::Gpus(args) => command::gpus::run(&args, &mut out),
            Command::Metrics(args) => command::metrics::run(args, &mut out),
        }
    }
}

/// The command line, with the help of each command limited to the flags that affect it.
#[must_use]
pub fn described() -> clap::Command {
    WITHOUT_EFFECT
        .iter()
        .fold(Cli::command(), |cli, (name, headings)| {
            if cli.find_subcommand(name).is_none() {
                return cli;
            }
            let idle = |arg: &clap::Arg| {
                arg.get_help_heading()
                    .is_some_and(|h| headings.contains(&h))
            };
            cli.mut_subcommand(name, |command| {
                command.mut_args(|arg| if idle(&arg) { arg.hide(true) } else { arg })
            })
        })
}

/// `words` with vLLM's spellings, its positional model and its pasted line normalised for clap, and the flags left out. Commands that do
/// not describe a deployment keep their words.
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
    let own = normalize(LineOrigin::Ours { names_model }, own, known);
    let pasted = normalize(LineOrigin::Pasted, pasted, known);
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
    fn a_help_has_no_flag_that_does_nothing_there_and_the_flag_is_still_read() {
        let help = |name: &str| {
            let mut cli = described();
            let command = cli.find_subcommand_mut(name).expect("there");
            command.render_long_help().to_string()
        };
        assert!(help("serve").contains("--web.listen-address"));
        assert!(!help("replay").contains("--web.listen-address"));
        assert!(!help("diagnose").contains("--web.") && help("diagnose").contains("--vllm-url"));
        let words = ["program", "replay", "--capture", "c", "--log.level", "warn"];
        assert!(described().try_get_matches_from(words).is_ok());
    }

    #[test]
    fn a_mistyped_command_or_flag_gets_a_hint() {
        let hint = |words: &[&str]| {
            let words = ["program"].iter().chain(words);
            let error = described()
                .try_get_matches_from(words)
                .expect_err("mistyped");
            error.to_string()
        };
        assert!(hint(&["diagnos"]).contains("'diagnose'"));
        assert!(hint(&["serve", "--vllm-ulr", "x"]).contains("'--vllm-url'"));
    }

    #[test]
    fn every_shell_gets_completions_and_every_command_a_manual_page() {
        let mut out = Vec::new();
        for shell in ["bash", "zsh", "fish"] {
            let shell = clap::ValueEnum::from_str(shell, true).expect("a shell");
            let args = command::completions::CompletionsArgs { shell };
            command::completions::run(&args, described(), &mut out).expect("written");
        }
        assert!(String::from_utf8_lossy(&out).contains("vllm-url"));
        let place = tempfile::tempdir().expect("a directory");
        let output = place.path().join("man");
        let args = command::completions::ManualArgs {
            output: output.clone(),
        };
        command::completions::manual(&args, described()).expect("written");
        let page = std::fs::read_to_string(output.join("vllm-roofline-exporter-serve.1"));
        assert!(page.expect("a page").contains("vllm\\-url"));
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
