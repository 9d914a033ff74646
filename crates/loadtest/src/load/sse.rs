//! `SseEvents`: splits a stream of server-sent events into the payloads of its `data:` lines.
//!
//! Each `data:` line is an event of its own: servers of this interface never spread one over several lines.

use memchr::memchr;

/// A longer line is not a model's answer: a token with the probabilities of twenty others has a few thousand bytes.
const LONGEST_LINE: usize = 1 << 20;

/// The line that begins in one chunk of the stream and ends in a later one.
#[derive(Debug, Default)]
pub(crate) struct SseEvents {
    begun: Vec<u8>,
}

/// A line that exceeds the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EndlessLine;

impl SseEvents {
    /// Calls `event` for every payload that `bytes` completes.
    ///
    /// # Errors
    /// Those of `event`, or a line that exceeds the limit.
    pub(crate) fn feed<E: From<EndlessLine>>(
        &mut self,
        bytes: &[u8],
        mut event: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            if self.begun.is_empty() {
                payload(line).map_or(Ok(()), &mut event)?;
            } else {
                self.begun.extend_from_slice(line);
                payload(&self.begun).map_or(Ok(()), &mut event)?;
                self.begun.clear();
            }
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > LONGEST_LINE {
            return Err(EndlessLine.into());
        }
        Ok(())
    }
}

/// The payload after `data:`; `None` for comments, names and empty lines.
fn payload(line: &[u8]) -> Option<&[u8]> {
    let data = line.strip_prefix(b"data:")?.trim_ascii();
    (!data.is_empty()).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut all = Vec::new();
        let mut events = SseEvents::default();
        for piece in pieces {
            let fed: Result<(), EndlessLine> = events.feed(piece, |data| {
                all.push(String::from_utf8_lossy(data).into_owned());
                Ok(())
            });
            fed.unwrap();
        }
        all
    }

    #[test]
    fn only_data_is_handed_on() {
        let stream = b": ping\r\nevent: message\r\ndata: {\"a\":1}\r\n\r\ndata:[DONE]\n\n\ndata:\n";
        assert_eq!(events(&[stream]), ["{\"a\":1}", "[DONE]"]);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_makes_no_difference(cut in 0_usize..59, again in 0_usize..59) {
            let stream = "data: {\"text\":\"größer\"}\n\ndata: {\"b\":2}\r\n\r\ndata: [DONE]\n\n".as_bytes();
            let (first, second) = (cut.min(again), cut.max(again));
            let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
            prop_assert_eq!(events(&pieces), events(&[stream]));
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut events = SseEvents::default();
        let fed: Result<(), EndlessLine> = events.feed(&vec![b'x'; LONGEST_LINE + 1], |_| Ok(()));
        assert_eq!(fed, Err(EndlessLine));
    }
}
