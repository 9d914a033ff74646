//! Nemotron-H's layers: one block each, given by a letter or a word.

use super::{LayerReader, at};
use crate::spec::model::config::ModelError;
use crate::spec::model::{FeedForward, Mixer};

impl LayerReader<'_> {
    /// The block at `index`, from the letters `M`, `E`, `*`, `-` or the corresponding words.
    pub(super) fn lettered(&self, index: u64) -> Result<(Mixer, FeedForward), ModelError> {
        let pattern = self
            .fields
            .string("hybrid_override_pattern")
            .map(str::as_bytes);
        let listed = self.fields.strings("layers_block_type");
        let letter = pattern
            .and_then(|letters| at(letters, index))
            .map(|letter| char::from(*letter));
        let word = listed.as_ref().and_then(|words| at(words, index)).copied();
        match (letter, word) {
            (Some('M'), _) | (None, Some("mamba" | "linear_attention")) => {
                Ok((Mixer::Recurrent(self.mamba2()?), FeedForward::None))
            }
            (Some('E'), _) | (None, Some("moe")) => {
                Ok((Mixer::None, FeedForward::Experts(self.moe()?)))
            }
            (Some('*'), _) | (None, Some("attention" | "full_attention")) => {
                Ok((self.attention(index)?, FeedForward::None))
            }
            (Some('-'), _) | (None, Some("mlp")) => {
                Ok((Mixer::None, FeedForward::Dense(self.mlp()?)))
            }
            (None, None) => Err(self.fields.bad(
                "hybrid_override_pattern",
                format!("says nothing of layer {index} of {}", self.count),
            )),
            (Some(letter), _) => Err(self.fields.bad(
                "hybrid_override_pattern",
                format!("holds {letter:?}; M, E, * and - are known"),
            )),
            (None, Some(word)) => Err(self.fields.bad(
                "layers_block_type",
                format!("holds {word:?}; mamba, moe, attention and mlp are known"),
            )),
        }
    }
}
