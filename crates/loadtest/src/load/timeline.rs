//! `RequestTimeline`: one request as its chunks arrive. A pure function of its arguments: times count from the sending of the request.
//!
//! A chunk may carry several tokens or none (the role of a chat message, the closing usage). With continuous usage statistics the server
//! counts the tokens so far; without, every choice that is more than a role counts as a chunk with tokens, as in `vllm bench serve`, and
//! only the closing usage gives their number.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::failure::Failure;
use super::run::RequestRecord;
use super::sse::EndlessLine;

/// The members of a chunk that are read.
#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<ResponseChoice>>,
    usage: Option<Usage>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct ResponseChoice {
    delta: Option<Delta>,
    finish_reason: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Delta {
    role: Option<IgnoredAny>,
    content: Option<String>,
}

impl ResponseChoice {
    /// Whether it opens a chat message and has no content yet.
    fn is_role_only(&self) -> bool {
        self.delta.as_ref().is_some_and(|delta| {
            delta.role.is_some() && delta.content.as_deref().unwrap_or_default().is_empty()
        })
    }
}

#[derive(Clone, Copy, Deserialize)]
struct Usage {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
}

/// Chunks with tokens allowed for each requested token, where several answers are requested at a time.
const MOST_ANSWERS: u32 = 16;

/// What has arrived of one request.
#[derive(Debug, Default)]
pub(crate) struct RequestTimeline {
    /// Limit of chunks with tokens.
    most_chunks: u32,
    first: Option<Duration>,
    last: Duration,
    gaps: Vec<f64>,
    chunks: u32,
    input_tokens: Option<u32>,
    output_tokens: Option<u32>,
    finished: bool,
}

impl From<EndlessLine> for Failure {
    fn from(_: EndlessLine) -> Self {
        Self::BadStream
    }
}

impl RequestTimeline {
    /// The timeline of a request for `output_len` tokens.
    #[must_use]
    pub(crate) fn of(output_len: u32) -> Self {
        Self {
            most_chunks: output_len.saturating_mul(MOST_ANSWERS),
            ..Self::default()
        }
    }

    /// Processes one payload that arrived at `time`, and returns the number of its output tokens.
    ///
    /// # Errors
    /// [`Failure::BadStream`] for an invalid chunk, and for more tokens than requested; [`Failure::StreamError`] where the server reports
    /// an error in the stream.
    pub(crate) fn event(&mut self, payload: &[u8], time: Duration) -> Result<u32, Failure> {
        if payload == b"[DONE]" {
            self.finished = true;
            return Ok(0);
        }
        let chunk: Chunk = serde_json::from_slice(payload).map_err(|_| Failure::BadStream)?;
        if chunk.error.is_some() {
            return Err(Failure::StreamError);
        }
        let before = self.tokens();
        let counted = chunk.usage.and_then(|usage| usage.completion_tokens);
        if let Some(usage) = chunk.usage {
            self.input_tokens = usage.prompt_tokens.or(self.input_tokens);
            self.output_tokens = usage.completion_tokens.or(self.output_tokens);
        }
        if let Some(choice) = chunk.choices.as_ref().and_then(|choices| choices.first()) {
            self.finished |= choice.finish_reason.is_some();
            let has_tokens =
                counted.map_or_else(|| !choice.is_role_only(), |counted| counted > before);
            if has_tokens && self.chunks == self.most_chunks {
                return Err(Failure::BadStream);
            }
            if has_tokens {
                self.tokens_at(time);
            }
        }
        Ok(self.tokens().saturating_sub(before))
    }

    /// Whether the server said that the answer is complete.
    #[must_use]
    pub(crate) const fn finished(&self) -> bool {
        self.finished
    }

    /// Whether any output token arrived.
    #[must_use]
    pub(crate) const fn has_tokens(&self) -> bool {
        self.first.is_some()
    }

    /// Output tokens so far.
    fn tokens(&self) -> u32 {
        self.output_tokens.unwrap_or(self.chunks)
    }

    fn tokens_at(&mut self, time: Duration) {
        if self.first.is_none() {
            self.first = Some(time);
        } else {
            self.gaps.push((time - self.last).as_secs_f64());
        }
        self.last = time;
        self.chunks += 1;
    }

    /// The record of the request, which was sent at `start` of the run and ended at `end`; `sent_tokens` is the length of its prompt where
    /// the server does not report it.
    #[must_use]
    pub(crate) fn into_request(
        self,
        start: Duration,
        end: Duration,
        sent_tokens: Option<u32>,
        failure: Option<Failure>,
    ) -> RequestRecord {
        RequestRecord {
            start_seconds: start.as_secs_f64(),
            input_tokens: self.input_tokens.or(sent_tokens).unwrap_or(0),
            output_tokens: self.tokens(),
            ttft_seconds: self.first.map(|first| first.as_secs_f64()),
            itl_seconds: self.gaps,
            e2e_seconds: failure.map_or(self.last, |_| end).as_secs_f64(),
            error: failure.map(|failure| failure.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record of a request with these payloads, one a second.
    fn check(payloads: &[&str]) -> (RequestRecord, bool) {
        let mut timeline = RequestTimeline::of(9);
        let mut time = Duration::ZERO;
        for payload in payloads {
            time += Duration::from_secs(1);
            timeline.event(payload.as_bytes(), time).unwrap();
        }
        let finished = timeline.finished();
        (timeline.into_request(time, time, Some(5), None), finished)
    }

    #[test]
    fn continuous_usage_tells_chunks_with_tokens_from_others() {
        let (request, finished) = check(&[
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}],"usage":{"prompt_tokens":7,"completion_tokens":0}}"#,
            r#"{"choices":[{"delta":{"content":""}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#,
            r#"{"choices":[{"delta":{"content":"abc"}}],"usage":{"prompt_tokens":7,"completion_tokens":4}}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"length"}],"usage":{"prompt_tokens":7,"completion_tokens":4}}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":4}}"#,
            "[DONE]",
        ]);
        assert!(finished);
        assert_eq!((request.input_tokens, request.output_tokens), (7, 4));
        assert_eq!(request.ttft_seconds, Some(2.0));
        assert_eq!(request.itl_seconds, [1.0]);
        assert!((request.e2e_seconds - 3.0).abs() < 1e-9);
        assert!((request.tpot_seconds().unwrap() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn without_usage_chunks_are_counted_and_the_closing_usage_corrects() {
        let chunks = [
            r#"{"choices":[{"text":"a","finish_reason":null}]}"#,
            r#"{"choices":[{"text":"","finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"text":"b","finish_reason":"stop"}]}"#,
        ];
        let (request, finished) = check(&chunks);
        assert!(finished);
        assert_eq!((request.input_tokens, request.output_tokens), (5, 3));
        assert_eq!(request.itl_seconds, [1.0, 1.0]);
        let closing =
            r#"{"choices":[],"usage":{"prompt_tokens":6,"completion_tokens":9,"total_tokens":15}}"#;
        let (request, _) = check(&[&chunks[..], &[closing]].concat());
        assert_eq!((request.input_tokens, request.output_tokens), (6, 9));
        assert!((request.e2e_seconds - 3.0).abs() < 1e-9);
    }

    #[test]
    fn tokens_without_end_are_no_answer() {
        let mut timeline = RequestTimeline::of(9);
        let chunk = br#"{"choices":[{"text":"a"}]}"#;
        let mut taken = 0..1000;
        let refused = taken.find_map(|_| timeline.event(chunk, Duration::ZERO).err());
        assert_eq!(refused, Some(Failure::BadStream));
        assert!(taken.start < 200, "{taken:?}");
    }

    #[test]
    fn what_is_no_chunk_is_told_from_an_error_of_the_server() {
        let mut timeline = RequestTimeline::of(9);
        assert_eq!(
            timeline.event(b"{\"choices\":", Duration::ZERO),
            Err(Failure::BadStream)
        );
        let error = br#"{"error":{"message":"engine died","code":500}}"#;
        assert_eq!(
            timeline.event(error, Duration::ZERO),
            Err(Failure::StreamError)
        );
    }
}
