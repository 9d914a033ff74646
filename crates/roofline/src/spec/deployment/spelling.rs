//! Normalises vLLM's command line into the form that clap parses.
//!
//! vLLM accepts `-tp 8`, `--tensor_parallel_size=8`, `--no-enforce-eager`, `-O0`, `--speculative-config.num_speculative_tokens 3` or
//! `--spec-tokens 3`, and its model without a flag. In a line that starts with `vllm serve`, irrelevant flags are dropped and reported, and
//! so are unknown flags; elsewhere only vLLM's flags are dropped. Any other unknown flag is an error, and a misspelt relevant flag always
//! is.

use std::iter::Peekable;

use serde_json::{Map, Value};

use super::misspelt::is_misspelt;
use super::vllm_flags::{SWITCHES, VALUED};

/// vLLM's short names of relevant flags.
pub(super) const SHORT_NAMES: [(&str, &str); 7] = [
    ("-tp", "tensor-parallel-size"),
    ("-pp", "pipeline-parallel-size"),
    ("-dp", "data-parallel-size"),
    ("-ep", "enable-expert-parallel"),
    ("-q", "quantization"),
    ("-sc", SPECULATIVE_CONFIG),
    ("-cc", COMPILATION_CONFIG),
];

/// vLLM's other short names; all take a value.
const OTHER_SHORT_NAMES: [&str; 16] = [
    "-n", "-r", "-dcp", "-pcp", "-dpn", "-dpr", "-dpl", "-dpa", "-dpp", "-dpb", "-dph", "-dpe",
    "-dpm", "-dc", "-ac", "-O",
];

/// Separate flags for members of the speculative configuration.
const SPECULATION: [(&str, &str); 3] = [
    ("spec-method", "method"),
    ("spec-model", "model"),
    ("spec-tokens", "num_speculative_tokens"),
];

/// Values that let vLLM choose a length by the free memory; here they mean the model's own length.
const LARGEST_THAT_FITS: [&str; 2] = ["auto", "-1"];

const SPECULATIVE_CONFIG: &str = "speculative-config";
const COMPILATION_CONFIG: &str = "compilation-config";

/// Flags that take a JSON object, whole or member by member (`--speculative-config.method ngram`).
const OBJECTS: [&str; 2] = [SPECULATIVE_CONFIG, COMPILATION_CONFIG];

/// The arguments of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// None: it is a switch.
    Nothing,
    /// One value.
    Value,
    /// Values up to the next flag.
    Values,
}

/// A normalised line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spelled {
    /// The arguments.
    pub arguments: Vec<String>,
    /// vLLM's flags that were dropped.
    pub ignored: Vec<String>,
}

/// The origin of a line, which decides how unknown flags are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineOrigin {
    /// A running or recorded vLLM: all flags are vLLM's own.
    Vllm,
    /// A vLLM line pasted by a person, which may have typos.
    Pasted,
    /// Our own line up to the words `vllm serve`; pasted from there on. A word without a flag is the model if `names_model`.
    Ours {
        /// Whether such a word means the model.
        names_model: bool,
    },
}

/// Normalises `words` for a command with the flags `known`.
pub fn normalize(
    line: LineOrigin,
    words: impl IntoIterator<Item = String>,
    known: impl Fn(&str) -> Option<Takes>,
) -> Spelled {
    let mut speller = ArgumentNormalizer {
        line,
        known,
        out: Spelled::default(),
        members: [Map::new(), Map::new()],
    };
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            speller.out.arguments.push(word);
            speller.out.arguments.extend(words);
            break;
        }
        if is_flag(&word) {
            speller.flag(&word, &mut words);
        } else {
            speller.positional(word, &mut words);
        }
    }
    for (flag, members) in OBJECTS.into_iter().zip(speller.members) {
        if !members.is_empty() {
            let object = Value::Object(members);
            speller.out.arguments.push(format!("--{flag}={object}"));
        }
    }
    speller.out
}

struct ArgumentNormalizer<K> {
    line: LineOrigin,
    known: K,
    out: Spelled,
    /// Members of [`OBJECTS`] that were set one by one.
    members: [Map<String, Value>; 2],
}

impl<K: Fn(&str) -> Option<Takes>> ArgumentNormalizer<K> {
    fn flag<I: Iterator<Item = String>>(&mut self, word: &str, rest: &mut Peekable<I>) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        // Unchanged; our own flags may contain dots (`--config.file`).
        let bare = name.trim_start_matches('-');
        if let Some(takes) = (self.known)(bare).filter(|_| name.starts_with("--")) {
            return self.known_flag(bare, takes, value, rest);
        }
        if name.starts_with("-O") {
            return self.optimisation_level(name, value, rest);
        }
        let (stem, member) = match name.split_once('.') {
            Some((stem, member)) => (stem, Some(member)),
            None => (name, None),
        };
        let Some(long) = long_name(stem) else {
            return self.other_short(word, stem, rest);
        };
        let shorthand = SPECULATION.iter().find(|(flag, _)| *flag == long);
        let member_of = match (shorthand, member) {
            (Some((_, member)), None) => Some((SPECULATIVE_CONFIG, *member)),
            (None, Some(member)) => Some((long.as_str(), member)),
            _ => None,
        };
        let object = member_of.and_then(|(flag, member)| {
            let index = OBJECTS.iter().position(|object| *object == flag)?;
            (self.known)(flag).map(|_| (index, member))
        });
        match (object, (self.known)(&long)) {
            (Some((index, member)), _) => {
                let text = value.or_else(|| rest.next()).unwrap_or_default();
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                self.members[index].insert(member.to_owned(), value);
            }
            (_, Some(takes)) if member.is_none() => self.known_flag(&long, takes, value, rest),
            _ => self.unknown(word, &long, value.is_some(), rest),
        }
    }

    /// A flag that the command has.
    fn known_flag<I: Iterator<Item = String>>(
        &mut self,
        name: &str,
        takes: Takes,
        value: Option<String>,
        rest: &mut Peekable<I>,
    ) {
        if name == "max-model-len" {
            let next = value.as_deref().or(rest.peek().map(String::as_str));
            if next.is_some_and(|next| LARGEST_THAT_FITS.contains(&next)) {
                if value.is_none() {
                    rest.next();
                }
                return self.ignore("--max-model-len auto");
            }
        }
        let arguments = &mut self.out.arguments;
        match (takes, value) {
            (Takes::Value, value) => match value.or_else(|| rest.next()) {
                Some(value) => arguments.push(format!("--{name}={value}")),
                None => arguments.push(format!("--{name}")),
            },
            (Takes::Nothing | Takes::Values, Some(value)) => {
                arguments.push(format!("--{name}={value}"));
            }
            (Takes::Nothing, None) => arguments.push(format!("--{name}")),
            (Takes::Values, None) => {
                arguments.push(format!("--{name}"));
                while let Some(value) = rest.next_if(|next| !is_flag(next)) {
                    arguments.push(value);
                }
            }
        }
    }

    /// The model, unless the word is something else.
    fn positional<I: Iterator<Item = String>>(&mut self, word: String, rest: &mut Peekable<I>) {
        let serves = rest.peek().is_some_and(|next| next == "serve");
        if self.is_vllms() && word == "serve" {
            self.model(rest);
        } else if self.is_vllms() {
            // `python3 -m vllm…` and the like.
        } else if word == "vllm" && serves {
            rest.next();
            self.line = LineOrigin::Pasted;
            self.model(rest);
        } else if self.line == (LineOrigin::Ours { names_model: true }) {
            self.out.arguments.push(format!("--model={word}"));
        } else {
            self.out.arguments.push(word);
        }
    }

    /// The word after `serve`.
    fn model<I: Iterator<Item = String>>(&mut self, rest: &mut Peekable<I>) {
        if let Some(model) = rest.next_if(|next| !is_flag(next)) {
            self.out.arguments.push(format!("--model={model}"));
        }
    }

    /// Level 0 disables compilation and CUDA graphs; the other levels do not differ here.
    fn optimisation_level<I: Iterator<Item = String>>(
        &mut self,
        name: &str,
        value: Option<String>,
        rest: &mut Peekable<I>,
    ) {
        let attached = name.trim_start_matches("-O").to_owned();
        let level = value
            .or(Some(attached).filter(|level| !level.is_empty()))
            .or_else(|| rest.next_if(|next| !is_flag(next)));
        if level.as_deref() == Some("0") && (self.known)("enforce-eager").is_some() {
            self.out.arguments.push("--enforce-eager".to_owned());
        } else {
            self.ignore("-O");
        }
    }

    fn other_short<I: Iterator<Item = String>>(
        &mut self,
        word: &str,
        name: &str,
        rest: &mut Peekable<I>,
    ) {
        if OTHER_SHORT_NAMES.contains(&name) {
            self.ignore(name);
            skip_values(word.contains('='), rest);
        } else if !self.is_vllms() {
            self.out.arguments.push(word.to_owned());
        }
    }

    fn is_vllms(&self) -> bool {
        matches!(self.line, LineOrigin::Vllm | LineOrigin::Pasted)
    }

    /// Whether `long`, which is not a vLLM flag, is a misspelling of one of the command's flags.
    fn is_misspelt(&self, long: &str) -> bool {
        let flags = VALUED.iter().chain(&SWITCHES).copied();
        is_misspelt(long, flags.filter(|flag| (self.known)(flag).is_some()))
    }

    /// Handles a flag that the command does not have.
    fn unknown<I: Iterator<Item = String>>(
        &mut self,
        word: &str,
        long: &str,
        has_value: bool,
        rest: &mut Peekable<I>,
    ) {
        let positive = long.strip_prefix("no-").unwrap_or(long);
        if (self.known)(positive) == Some(Takes::Nothing) {
            return;
        }
        let is_vllms = VALUED.contains(&long) || SWITCHES.contains(&positive);
        let stays = match self.line {
            LineOrigin::Vllm => false,
            LineOrigin::Pasted => self.is_misspelt(positive),
            LineOrigin::Ours { .. } => true,
        };
        if !is_vllms && stays {
            self.out.arguments.push(word.to_owned());
            return;
        }
        self.ignore(&format!("--{long}"));
        if !SWITCHES.contains(&positive) {
            skip_values(has_value, rest);
        }
    }

    fn ignore(&mut self, flag: &str) {
        self.out.ignored.push(flag.to_owned());
    }
}

/// Skips the values of an irrelevant flag; some take several.
fn skip_values<I: Iterator<Item = String>>(has_value: bool, rest: &mut Peekable<I>) {
    while !has_value && rest.next_if(|next| !is_flag(next)).is_some() {}
}

/// Whether `word` is a flag, not a value such as a negative number.
fn is_flag(word: &str) -> bool {
    word.starts_with('-') && word.len() > 1 && word.parse::<f64>().is_err()
}

/// The long name of a relevant flag in a form that vLLM accepts: with underscores, or short.
fn long_name(name: &str) -> Option<String> {
    let short = SHORT_NAMES.iter().find(|(short, _)| *short == name);
    let long = short.map_or_else(|| name.strip_prefix("--"), |(_, long)| Some(long));
    long.map(|name| name.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Option<Takes> {
        Some(match name {
            "enforce-eager" | "enable-expert-parallel" | "enable-lora" => Takes::Nothing,
            "model"
            | "tensor-parallel-size"
            | "quantization"
            | "speculative-config"
            | "config.file"
            | "max-model-len" => Takes::Value,
            "results" => Takes::Values,
            _ => return None,
        })
    }

    fn spelled(line: LineOrigin, words: &str) -> Spelled {
        normalize(line, words.split_whitespace().map(str::to_owned), known)
    }

    fn ours(words: &str) -> Spelled {
        spelled(LineOrigin::Ours { names_model: true }, words)
    }

    #[test]
    fn all_spellings_become_one() {
        let line = ours(
            "meta/model -tp 8 -q=awq --max_model_len=4k --no-enforce-eager -ep --config.file c.yaml --results a b -O0",
        );
        assert_eq!(
            line.arguments.join(" "),
            "--model=meta/model --tensor-parallel-size=8 --quantization=awq --max-model-len=4k --enable-expert-parallel \
             --config.file=c.yaml --results a b --enforce-eager"
        );
        assert_eq!(line.ignored, [""; 0]);
    }

    #[test]
    fn members_of_the_speculative_configuration_are_gathered() {
        for words in [
            "--spec-method ngram --spec-tokens 3",
            "-sc.method ngram --speculative_config.num_speculative_tokens=3",
        ] {
            assert_eq!(
                ours(words).arguments,
                [r#"--speculative-config={"method":"ngram","num_speculative_tokens":3}"#]
            );
        }
    }

    #[test]
    fn vllms_other_flags_are_left_out_and_mistyped_ones_stay() {
        assert_eq!(
            ours("--max-model-len auto --max-model-len=-1").arguments,
            [""; 0]
        );
        let line =
            ours("m --port 8000 --api-key secret --trust-remote-code --seed -1 -tp 2 -O3 --gpuu x");
        assert_eq!(
            line.arguments,
            [
                "--model=m",
                "--tensor-parallel-size=2",
                "--gpuu",
                "--model=x"
            ]
        );
        assert_eq!(
            line.ignored,
            ["--port", "--api-key", "--trust-remote-code", "--seed", "-O"]
        );
    }

    #[test]
    fn a_line_of_vllms_may_follow() {
        let line = ours(
            "--max-model-len 4096 vllm serve m --host 0.0.0.0 --brand-new 1 -tp 4 -cc.cudagraph_mode=none",
        );
        assert_eq!(
            line.arguments,
            [
                "--max-model-len=4096",
                "--model=m",
                "--tensor-parallel-size=4"
            ]
        );
        assert_eq!(
            line.ignored,
            ["--host", "--brand-new", "--compilation-config"]
        );
        for misspelt in [
            "--tensor-paralel-size",
            "--tensor_parallel_sizes",
            "--enforce-eagre",
        ] {
            let line = ours(&format!("vllm serve m {misspelt} 8"));
            assert!(
                line.arguments.iter().any(|argument| argument == misspelt),
                "{line:?}"
            );
            let recorded = spelled(LineOrigin::Vllm, &format!("serve m {misspelt} 8"));
            assert_eq!(recorded.arguments, ["--model=m"]);
        }
        let module = spelled(LineOrigin::Vllm, "python3 -m vllm.entrypoints --model=m");
        assert_eq!(module.arguments, ["--model=m"]);
    }
}
