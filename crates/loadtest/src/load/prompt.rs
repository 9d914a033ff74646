//! `PromptSource`: prompts, generated from length distributions or read from a file.
//!
//! Synthetic prompts for completions are token ids, whose number is exact without a tokenizer. For chat they are words; the server's
//! `/tokenize` gives the words per token. Without it, a word counts as one token, and the report uses the server's own count.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::dataset::Entry;
use super::settings::LengthDistribution;

/// Token ids of synthetic prompts. Lower ids are bytes, control tokens and, in some vocabularies, a thousand placeholders; few vocabularies
/// are smaller, and a server that lacks some of these ids reports it.
const TOKEN_IDS: std::ops::Range<u32> = 1000..4000;

/// Words that most vocabularies have as one token each, with the space before them.
const WORDS: [&str; 64] = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "law",
];

/// The source of prompts.
#[derive(Clone, Debug)]
pub enum PromptSource {
    /// Generated prompts.
    Synthetic(Synthetic),
    /// Read from a file in order, repeated when it ends.
    File {
        /// Its prompts.
        entries: Arc<[Entry]>,
        /// Length of answers where the file has none.
        output: LengthDistribution,
    },
}

/// Generated prompts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Synthetic {
    /// Tokens of a prompt after its prefix.
    pub input: LengthDistribution,
    /// Tokens of an answer.
    pub output: LengthDistribution,
    /// Tokens of the prefix that prompts share, before `input`.
    pub prefix_len: u32,
    /// Number of such prefixes; each prompt takes one at random.
    pub prefixes: u32,
}

/// The text of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Token ids.
    Tokens(Vec<u32>),
    /// Text.
    Text(String),
    /// A conversation, as the chat interface takes it.
    Messages(Value),
}

/// One request: a prompt and the length of its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The prompt.
    pub content: Content,
    /// Tokens of the answer.
    pub output_len: u32,
    /// Tokens of the prompt, where known beforehand.
    pub input_len: Option<u32>,
}

/// The form of synthetic prompts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Script {
    /// Token ids.
    Tokens,
    /// Words, at a number per token.
    Words {
        /// Words per token.
        per_token: f64,
    },
}

/// Generates one prompt after the other; the same seed gives the same prompts.
#[derive(Debug)]
pub struct Writer {
    prompts: PromptSource,
    script: Script,
    random: SmallRng,
    prefixes: Vec<Content>,
    next: usize,
}

impl Writer {
    /// A writer of `prompts` in `script`.
    #[must_use]
    pub fn new(prompts: PromptSource, script: Script, seed: u64) -> Self {
        let mut writer = Self {
            prompts,
            script,
            random: SmallRng::seed_from_u64(seed),
            prefixes: Vec::new(),
            next: 0,
        };
        if let PromptSource::Synthetic(synthetic) = writer.prompts
            && synthetic.prefix_len > 0
        {
            writer.prefixes = (0..synthetic.prefixes.max(1))
                .map(|_| writer.content(synthetic.prefix_len))
                .collect();
        }
        writer
    }

    /// The next prompt.
    pub fn ask(&mut self) -> Ask {
        match &self.prompts {
            PromptSource::Synthetic(synthetic) => {
                let synthetic = *synthetic;
                self.made_up(&synthetic)
            }
            PromptSource::File { entries, output } => {
                let entry = &entries[self.next % entries.len()];
                self.next += 1;
                Ask {
                    content: entry.content.clone(),
                    output_len: entry
                        .output_len
                        .unwrap_or_else(|| output.sample(&mut self.random)),
                    input_len: match &entry.content {
                        Content::Tokens(ids) => u32::try_from(ids.len()).ok(),
                        Content::Text(_) | Content::Messages(_) => None,
                    },
                }
            }
        }
    }

    fn made_up(&mut self, synthetic: &Synthetic) -> Ask {
        let input = synthetic.input.sample(&mut self.random);
        let output_len = synthetic.output.sample(&mut self.random);
        let own = self.content(input);
        let content = if self.prefixes.is_empty() {
            own
        } else {
            let chosen = self.random.random_range(0..self.prefixes.len());
            joined(self.prefixes[chosen].clone(), own)
        };
        Ask {
            content,
            output_len,
            input_len: (self.script == Script::Tokens).then_some(synthetic.prefix_len + input),
        }
    }

    fn content(&mut self, tokens: u32) -> Content {
        let random = &mut self.random;
        match self.script {
            Script::Tokens => Content::Tokens(
                (0..tokens)
                    .map(|_| random.random_range(TOKEN_IDS))
                    .collect(),
            ),
            Script::Words { per_token } => {
                let count = (f64::from(tokens) * per_token).round().max(1.0);
                Content::Text(words(random, count))
            }
        }
    }
}

/// `count` words at random.
fn words(random: &mut SmallRng, count: f64) -> String {
    let mut text = String::new();
    let mut written = 0.0;
    while written < count {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(WORDS[random.random_range(0..WORDS.len())]);
        written += 1.0;
    }
    text
}

fn joined(prefix: Content, own: Content) -> Content {
    match (prefix, own) {
        (Content::Tokens(mut ids), Content::Tokens(more)) => {
            ids.extend(more);
            Content::Tokens(ids)
        }
        (Content::Text(text), Content::Text(more)) => Content::Text(format!("{text} {more}")),
        (_, own) => own,
    }
}

/// A text of 256 words, from which the server's tokens per word are measured.
#[must_use]
pub(crate) fn sample_text() -> String {
    words(&mut SmallRng::seed_from_u64(0), SAMPLE_WORDS)
}

/// Words of [`sample_text`].
pub(crate) const SAMPLE_WORDS: f64 = 256.0;

/// The prompt as a member of a request: `prompt` of completions, `messages` of chat.
#[must_use]
pub(crate) fn as_messages(content: &Content) -> Value {
    match content {
        Content::Messages(messages) => messages.clone(),
        Content::Text(text) => json!([{"role": "user", "content": text}]),
        Content::Tokens(ids) => json!([{"role": "user", "content": format!("{ids:?}")}]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synthetic(prefix_len: u32, prefixes: u32) -> PromptSource {
        PromptSource::Synthetic(Synthetic {
            input: LengthDistribution::Uniform { min: 5, max: 9 },
            output: LengthDistribution::Fixed(3),
            prefix_len,
            prefixes,
        })
    }

    fn ids(ask: &Ask) -> &[u32] {
        match &ask.content {
            Content::Tokens(ids) => ids,
            other => panic!("not token ids: {other:?}"),
        }
    }

    #[test]
    fn the_same_seed_asks_the_same() {
        let asks = |seed| {
            let mut writer = Writer::new(synthetic(0, 1), Script::Tokens, seed);
            (0..20).map(|_| writer.ask()).collect::<Vec<_>>()
        };
        assert_eq!(asks(1), asks(1));
        assert_ne!(asks(1), asks(2));
    }

    #[test]
    fn prefixes_are_shared_and_come_on_top() {
        let mut writer = Writer::new(synthetic(100, 2), Script::Tokens, 7);
        let asks: Vec<_> = (0..50).map(|_| writer.ask()).collect();
        let mut prefixes: Vec<_> = asks.iter().map(|ask| &ids(ask)[..100]).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        assert_eq!(prefixes.len(), 2);
        for ask in &asks {
            assert_eq!(ask.input_len, u32::try_from(ids(ask).len()).ok());
            assert!((105..=109).contains(&ids(ask).len()));
        }
    }

    #[test]
    fn words_make_up_the_tokens_asked_for() {
        let script = Script::Words { per_token: 0.5 };
        let mut writer = Writer::new(synthetic(0, 1), script, 7);
        for _ in 0..20 {
            let Content::Text(text) = writer.ask().content else {
                panic!("not text");
            };
            assert!((3..=5).contains(&text.split(' ').count()), "{text}");
        }
    }
}
