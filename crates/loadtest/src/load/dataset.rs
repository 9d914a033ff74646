//! Prompts from a file: JSON lines with `prompt` or `messages`, or a `ShareGPT` list of conversations.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::prompt::Content;
use super::run::Api;

/// One prompt of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The prompt.
    pub content: Content,
    /// Tokens of its answer, where the file has them.
    pub output_len: Option<u32>,
}

/// Why a file of prompts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// It cannot be read.
    #[error("cannot read --dataset {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A line is not a prompt.
    #[error("--dataset {}, {place}: {cause}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line or entry.
        place: String,
        /// What is wrong, and what is expected.
        cause: String,
    },
    /// The file is empty.
    #[error("--dataset {} has no prompt; give lines such as {{\"prompt\": \"…\", \"output_tokens\": 128}}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A line as vLLM's custom datasets have it (`prompt`, `output_tokens`), or a conversation.
#[derive(Deserialize)]
struct DatasetLine {
    prompt: Option<DatasetPrompt>,
    messages: Option<Value>,
    conversations: Option<Vec<Turn>>,
    #[serde(alias = "output_len", alias = "max_tokens")]
    output_tokens: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum DatasetPrompt {
    Text(String),
    Tokens(Vec<u32>),
}

/// A turn of a `ShareGPT` conversation.
#[derive(Deserialize)]
struct Turn {
    value: String,
}

/// The prompts in the file at `path`, for use with `api`.
///
/// # Errors
/// [`DatasetError`], which names the file and the line.
pub fn read(path: &Path, api: Api) -> Result<Vec<Entry>, DatasetError> {
    let text = std::fs::read_to_string(path).map_err(|cause| DatasetError::Read {
        path: path.to_owned(),
        cause,
    })?;
    let failed = |place: String, cause: String| DatasetError::Line {
        path: path.to_owned(),
        place,
        cause,
    };
    let lines: Vec<(String, Result<DatasetLine, serde_json::Error>)> =
        if text.trim_start().starts_with('[') {
            let list: Vec<Value> = serde_json::from_str(&text)
                .map_err(|error| failed(format!("line {}", error.line()), error.to_string()))?;
            let entries = list.into_iter().enumerate();
            entries
                .map(|(index, value)| {
                    (
                        format!("entry {}", index + 1),
                        serde_json::from_value(value),
                    )
                })
                .collect()
        } else {
            let lines = text.lines().enumerate();
            lines
                .filter(|(_, line)| !line.trim().is_empty())
                .map(|(index, line)| (format!("line {}", index + 1), serde_json::from_str(line)))
                .collect()
        };
    let entries: Vec<Entry> = lines
        .into_iter()
        .map(|(place, line)| {
            line.map_err(|error| error.to_string())
                .and_then(|line| entry(line, api))
                .map_err(|cause| failed(place, cause))
        })
        .collect::<Result<_, _>>()?;
    if entries.is_empty() {
        return Err(DatasetError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(entries)
}

fn entry(line: DatasetLine, api: Api) -> Result<Entry, String> {
    let content = match (line.prompt, line.messages, line.conversations) {
        (Some(DatasetPrompt::Text(text)), ..) => Content::Text(text),
        (Some(DatasetPrompt::Tokens(ids)), ..) if api == Api::Completions => Content::Tokens(ids),
        (Some(DatasetPrompt::Tokens(_)), ..) => {
            return Err("a prompt of token ids needs --api completions".to_owned());
        }
        (None, Some(messages), _) if api == Api::Chat => Content::Messages(messages),
        (None, Some(_), _) => return Err("`messages` need --api chat".to_owned()),
        (None, None, Some(turns)) => {
            let first = turns.into_iter().next();
            Content::Text(first.ok_or("a conversation without turns")?.value)
        }
        (None, None, None) => {
            return Err("has neither `prompt` nor `messages` nor `conversations`".to_owned());
        }
    };
    if line.output_tokens == Some(0) {
        return Err("`output_tokens` is 0; an answer has at least one".to_owned());
    }
    Ok(Entry {
        content,
        output_len: line.output_tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, api: Api) -> Result<Vec<Entry>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prompts.jsonl");
        std::fs::write(&path, text).unwrap();
        read(&path, api).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_and_lists_are_read() {
        let lines = "{\"prompt\":\"hello\",\"output_tokens\":7}\n\n{\"prompt\":[1,2,3]}\n";
        let entries = check(lines, Api::Completions).unwrap();
        assert_eq!(entries[0].content, Content::Text("hello".to_owned()));
        assert_eq!(entries[0].output_len, Some(7));
        assert_eq!(entries[1].content, Content::Tokens(vec![1, 2, 3]));
        let share_gpt = r#"[{"id":"a","conversations":[{"from":"human","value":"hi"},{"from":"gpt","value":"ho"}]}]"#;
        let entries = check(share_gpt, Api::Chat).unwrap();
        assert_eq!(entries[0].content, Content::Text("hi".to_owned()));
    }

    #[test]
    fn what_is_no_prompt_is_named_with_its_line() {
        for (text, api, expected) in [
            (
                "{\"prompt\":\"a\"}\n{\"text\":\"b\"}\n",
                Api::Completions,
                "line 2: has neither",
            ),
            (
                "{\"prompt\":[1]}\n",
                Api::Chat,
                "line 1: a prompt of token ids needs",
            ),
            ("{\"messages\":[]}\n", Api::Completions, "need --api chat"),
            ("nonsense\n", Api::Completions, "line 1: expected"),
            ("\n", Api::Completions, "has no prompt"),
            (
                "{\"prompt\":\"a\",\"output_tokens\":0}",
                Api::Completions,
                "is 0",
            ),
        ] {
            let error = check(text, api).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
