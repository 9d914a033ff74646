//! Attention layers: grouped-query and latent (MLA), and their attention spans.

use super::projection::{Projection, Split};
use crate::spec::to_f64;

/// Which earlier tokens a query attends to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttentionSpan {
    /// All of them.
    Full,
    /// The last so many tokens, the query's own included.
    Window(f64),
    /// The tokens since the last multiple of this length (Llama 4).
    Chunk(f64),
    /// So many tokens that an indexer selects (DeepSeek sparse attention); all are kept in the cache.
    Selected(f64),
}

impl AttentionSpan {
    /// Query-key pairs of `new` tokens after `cached` ones, causal mask counted exactly.
    ///
    /// Full: `n·c + n(n+1)/2`. Window W: `Σ min(c+j, W)`. Chunk C: `Σ ((c+j−1) mod C) + 1`.
    #[must_use]
    pub fn pairs(self, new: f64, cached: f64) -> f64 {
        match self {
            Self::Full => triangle(cached + new) - triangle(cached),
            Self::Window(window) | Self::Selected(window) => {
                let growing = (window - cached).clamp(0.0, new);
                growing * cached + triangle(growing) + (new - growing) * window
            }
            Self::Chunk(chunk) => sawtooth(cached + new, chunk) - sawtooth(cached, chunk),
        }
    }

    /// Cached tokens, the new ones included, that a step with `new` tokens after `cached` ones reads.
    #[must_use]
    pub(crate) fn tokens_read(self, new: f64, cached: f64) -> f64 {
        match self {
            Self::Full => cached + new,
            Self::Window(window) => (cached + new).min(window + new - 1.0),
            Self::Chunk(chunk) => cached + new - (cached / chunk).floor() * chunk,
            Self::Selected(tokens) => (cached + new).min(tokens * new),
        }
    }

    /// Maximum number of tokens of one sequence that the layer needs, if limited.
    #[must_use]
    pub const fn limit(self) -> Option<f64> {
        match self {
            Self::Full | Self::Selected(_) => None,
            Self::Window(tokens) | Self::Chunk(tokens) => Some(tokens),
        }
    }
}

/// `1 + 2 + … + n`.
fn triangle(n: f64) -> f64 {
    n * (n + 1.0) / 2.0
}

/// `Σ_{i<n} (i mod C) + 1`.
fn sawtooth(n: f64, chunk: f64) -> f64 {
    let whole = (n / chunk).floor();
    whole * triangle(chunk) + triangle(n - whole * chunk)
}

/// Where a layer's keys and values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvSource {
    /// A projection each.
    Projections,
    /// One projection makes both (Gemma 4's global layers).
    KeysAsValues,
    /// The cache of an earlier layer, read only (Gemma 4's last layers).
    EarlierLayer,
}

/// Grouped-query attention; multi-head and multi-query attention are special cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupedAttention {
    /// Query heads.
    pub query_heads: u64,
    /// Key and value heads.
    pub kv_heads: u64,
    /// Width of a head's query and key.
    pub head_dim: u64,
    /// Width of a head's value.
    pub value_dim: u64,
    /// Its attention span.
    pub span: AttentionSpan,
    /// Biases on the query, key and value projections.
    pub qkv_bias: bool,
    /// Bias on the output projection.
    pub output_bias: bool,
    /// Elements per token of an output gate: none, one per head, or all (Qwen3-Next).
    pub gate_width: u64,
    /// Where keys and values come from.
    pub kv_source: KvSource,
    /// Parameters of the norms on queries and keys, and of attention sinks.
    pub extra_params: u64,
}

impl GroupedAttention {
    /// Whether queries and keys have their own norms: at least one weight per element of a head.
    #[must_use]
    pub(crate) const fn norms_heads(&self) -> bool {
        self.extra_params >= 2 * self.head_dim
    }

    /// Whether one norm spans the queries of all heads, and one their keys (`minimax_m2`, `olmo2`).
    #[must_use]
    pub(crate) const fn norms_whole_projections(&self) -> bool {
        self.extra_params >= (self.query_heads + self.kv_heads) * self.head_dim
    }

    pub(super) fn projections(&self, hidden: u64) -> Vec<Projection> {
        let queries = self.query_heads * self.head_dim + self.gate_width;
        let projected = |module, outputs| {
            Projection::new(module, hidden, outputs, Split::KvHeads(self.kv_heads))
                .with_bias(self.qkv_bias)
        };
        let keys = projected("self_attn.k_proj", self.kv_heads * self.head_dim);
        let values = projected("self_attn.v_proj", self.kv_heads * self.value_dim);
        let mut projections = vec![
            Projection::new("self_attn.q_proj", hidden, queries, Split::Column)
                .with_bias(self.qkv_bias),
        ];
        match self.kv_source {
            KvSource::Projections => projections.extend([keys, values]),
            KvSource::KeysAsValues => projections.push(keys),
            KvSource::EarlierLayer => {}
        }
        let attended = self.query_heads * self.value_dim;
        projections.push(
            Projection::new("self_attn.o_proj", attended, hidden, Split::Row)
                .with_bias(self.output_bias),
        );
        projections
    }

    /// Elements per token in the cache, on one GPU with `kv_heads` of the heads.
    #[must_use]
    pub(crate) fn cached_elements(&self, kv_heads: f64) -> f64 {
        kv_heads * to_f64(self.head_dim + self.value_dim)
    }
}

/// Multi-head latent attention: keys and values are rebuilt from one compressed vector per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatentAttention {
    /// Heads.
    pub heads: u64,
    /// Rank of the query compression, if there is one.
    pub query_rank: Option<u64>,
    /// Rank of the compressed key-value vector, which the cache holds together with the rotary part.
    pub kv_rank: u64,
    /// Width of a head's key without position.
    pub nope_dim: u64,
    /// Width of the rotary key, shared by all heads.
    pub rope_dim: u64,
    /// Width of a head's value.
    pub value_dim: u64,
    /// The indexer that selects the attended tokens, if there is one.
    pub indexer: Option<Indexer>,
}

/// Scores all cached tokens with small heads and selects the best (DeepSeek sparse attention).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexer {
    /// Heads.
    pub heads: u64,
    /// Width of a head; all share one key.
    pub dim: u64,
    /// Tokens selected.
    pub top_k: u64,
    /// Whether it has its own weights and cache; otherwise it reuses an earlier layer's selection.
    pub scores: bool,
}

impl Indexer {
    /// Bytes per token of its cache: an fp8 key and its 32-bit scale.
    #[must_use]
    pub(crate) fn cached_bytes(&self) -> f64 {
        to_f64(self.dim) + 4.0
    }

    fn projections(&self, hidden: u64, query_rank: u64) -> [Projection; 3] {
        let replicated =
            |module, inputs, outputs| Projection::new(module, inputs, outputs, Split::Replicated);
        [
            replicated("self_attn.indexer.wq_b", query_rank, self.heads * self.dim),
            replicated("self_attn.indexer.wk", hidden, self.dim),
            replicated("self_attn.indexer.weights_proj", hidden, self.heads),
        ]
    }
}

impl LatentAttention {
    /// Module that rebuilds keys and values; prefill multiplies it per cached token, decode absorbs it.
    pub(crate) const UP_PROJECTION: &'static str = "self_attn.kv_b_proj";

    pub(super) fn projections(&self, hidden: u64) -> Vec<Projection> {
        let query = self.heads * (self.nope_dim + self.rope_dim);
        let mut projections = match self.query_rank {
            Some(rank) => vec![
                Projection::new("self_attn.q_a_proj", hidden, rank, Split::Replicated),
                Projection::new("self_attn.q_b_proj", rank, query, Split::Column),
            ],
            None => vec![Projection::new(
                "self_attn.q_proj",
                hidden,
                query,
                Split::Column,
            )],
        };
        projections.extend([
            Projection::new(
                "self_attn.kv_a_proj_with_mqa",
                hidden,
                self.latent_width(),
                Split::Replicated,
            ),
            Projection::new(
                Self::UP_PROJECTION,
                self.kv_rank,
                self.heads * (self.nope_dim + self.value_dim),
                Split::Column,
            ),
            Projection::new(
                "self_attn.o_proj",
                self.heads * self.value_dim,
                hidden,
                Split::Row,
            ),
        ]);
        if let Some(indexer) = self.scoring() {
            projections.extend(indexer.projections(hidden, self.query_rank.unwrap_or(hidden)));
        }
        projections
    }

    /// The indexer, if it scores in this layer.
    #[must_use]
    pub(crate) fn scoring(&self) -> Option<&Indexer> {
        self.indexer.as_ref().filter(|indexer| indexer.scores)
    }

    /// Its attention span.
    #[must_use]
    pub fn span(&self) -> AttentionSpan {
        self.indexer.map_or(AttentionSpan::Full, |indexer| {
            AttentionSpan::Selected(to_f64(indexer.top_k))
        })
    }

    /// Elements per token in the cache: compressed vector and rotary key, once for all heads.
    #[must_use]
    pub(crate) const fn latent_width(&self) -> u64 {
        self.kv_rank + self.rope_dim
    }

    /// Parameters of the norms on the compressed vectors, and of the norm on the indexer's key, which has a bias.
    pub(super) fn extra_params(&self) -> u64 {
        let indexer = self.scoring().map_or(0, |indexer| 2 * indexer.dim);
        self.query_rank.unwrap_or(0) + self.kv_rank + indexer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[expect(clippy::cast_precision_loss, reason = "test sizes are small")]
    fn counted(new: u64, cached: u64, attended: impl Fn(u64) -> u64) -> f64 {
        (1..=new)
            .map(|position| attended(cached + position))
            .sum::<u64>() as f64
    }

    proptest! {
        #[test]
        #[expect(clippy::cast_precision_loss, reason = "test sizes are small")]
        fn closed_forms_equal_the_sums(new in 0_u64..300, cached in 0_u64..300, limit in 1_u64..200) {
            let (n, c, w) = (new as f64, cached as f64, limit as f64);
            prop_assert!((AttentionSpan::Full.pairs(n, c) - counted(new, cached, |seen| seen)).abs() < 1e-6);
            prop_assert!((AttentionSpan::Window(w).pairs(n, c) - counted(new, cached, |seen| seen.min(limit))).abs() < 1e-6);
            prop_assert!((AttentionSpan::Chunk(w).pairs(n, c) - counted(new, cached, |seen| (seen - 1) % limit + 1)).abs() < 1e-6);
        }

        #[test]
        fn splitting_a_prefill_does_not_change_its_pairs(first in 0_f64..5000.0, second in 0_f64..5000.0, cached in 0_f64..5000.0) {
            for span in [AttentionSpan::Full, AttentionSpan::Window(1024.0), AttentionSpan::Chunk(2048.0)] {
                let whole = span.pairs(first + second, cached);
                let parts = span.pairs(first, cached) + span.pairs(second, cached + first);
                prop_assert!((whole - parts).abs() <= 1e-6 * whole.max(1.0));
            }
        }
    }

    #[test]
    fn a_chunked_layer_reads_from_the_start_of_its_chunk() {
        let chunk = AttentionSpan::Chunk(8192.0);
        assert!((chunk.tokens_read(1.0, 10_000.0) - 1809.0).abs() < 1e-9);
        assert!((chunk.tokens_read(100.0, 8150.0) - 8250.0).abs() < 1e-9);
        assert!((AttentionSpan::Window(128.0).tokens_read(1.0, 1023.0) - 128.0).abs() < 1e-9);
    }
}
