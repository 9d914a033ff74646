//! Traffic between the GPUs of a deployment in one step.
//!
//! Tensor parallelism sums T × H activations after each block and after the embedding. Logits are gathered on one rank. Experts spread over
//! replicas dispatch and combine `T·k·H`; a pipeline stage passes T × H on.
//!
//! One all-reduce of `s` bytes over t ranks, with the latency α of a kernel that waits for all ranks, takes
//!
//! * in one shot, where each rank reads the others' tensors: `α + (t−1)·s / small`,
//! * in two shots, where each sums its part and then reads the others': `2α + 2(t−1)/t·s / small`,
//! * above [`LARGE_MESSAGE`], by NCCL: `2α + 2(t−1)/t·s / large`.
//!
//! vLLM's own kernels choose between the first two by size, as the minimum does here. When decoding a batch of 64 with TP 8, α alone is a
//! tenth to a third of a step.

use super::ceiling::Link;
use super::shard::Shard;
use super::step::StepWork;
use crate::units::{Bytes, Seconds};

/// Bytes and messages of one step, per GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Communication {
    /// All-reduces.
    pub all_reduces: f64,
    /// Total payload of the all-reduces.
    pub all_reduce_payload: Bytes,
    /// Ranks that take part in each.
    pub ranks: f64,
    /// All-reduces of one number per token: norms over heads that the ranks share.
    pub norm_reduces: f64,
    /// Messages that carry these bytes.
    pub point_to_point: Bytes,
    /// Messages that carry them.
    pub messages: f64,
}

impl Communication {
    /// Adds the traffic of `count` further passes.
    pub(super) fn add(&mut self, pass: &Self, count: f64) {
        self.all_reduces += pass.all_reduces * count;
        self.all_reduce_payload += pass.all_reduce_payload * count;
        self.ranks = self.ranks.max(pass.ranks);
        self.norm_reduces += pass.norm_reduces * count;
        self.point_to_point += pass.point_to_point * count;
        self.messages += pass.messages * count;
    }

    /// Bytes that cross one link in one direction.
    #[must_use]
    pub fn link_bytes(&self) -> Bytes {
        self.all_reduce_payload * self.ring_factor() + self.point_to_point
    }

    /// Time on `link`, latencies included.
    #[must_use]
    pub fn seconds(&self, link: &Link) -> Seconds {
        self.all_reduce(link) * self.all_reduces
            + self.point_to_point / link.large_messages
            + link.latency * (self.norm_reduces + self.messages)
    }

    /// Share of a payload that crosses each link in two shots, `2(t−1)/t`.
    #[must_use]
    pub fn ring_factor(&self) -> f64 {
        if self.ranks > 1.0 {
            2.0 * (self.ranks - 1.0) / self.ranks
        } else {
            0.0
        }
    }

    /// One all-reduce.
    fn all_reduce(&self, link: &Link) -> Seconds {
        if self.all_reduces <= 0.0 {
            return Seconds::ZERO;
        }
        let payload = self.all_reduce_payload * (1.0 / self.all_reduces);
        let parts = payload * self.ring_factor();
        if payload > LARGE_MESSAGE {
            return link.latency * 2.0 + parts / link.large_messages;
        }
        let in_one_go = link.latency + payload * (self.ranks - 1.0) / link.small_messages;
        let in_two = link.latency * 2.0 + parts / link.small_messages;
        if in_one_go < in_two {
            in_one_go
        } else {
            in_two
        }
    }
}

/// The largest message that vLLM's own all-reduce handles (`max_size` of its `CustomAllreduce`); NCCL sums larger ones.
pub(crate) const LARGE_MESSAGE: Bytes = Bytes(8.0 * 1024.0 * 1024.0);

/// How a shard takes part in communication.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Peers {
    pub(super) tensor: f64,
    pub(super) pipeline: f64,
    /// Ranks that exchange tokens with experts; 1 without expert parallelism.
    pub(super) expert: f64,
}

impl Shard {
    pub(super) fn communication(&self, work: &StepWork) -> Communication {
        let Peers {
            tensor,
            pipeline,
            expert,
        } = self.peers;
        let stream = self.hidden * self.activation_width * work.tokens;
        let mut communication = Communication::default();
        if tensor > 1.0 {
            communication.all_reduces = self.all_reduces;
            communication.all_reduce_payload = Bytes(stream * self.all_reduces);
            communication.ranks = tensor;
            communication.norm_reduces = self.norm_reduces;
            communication.point_to_point +=
                Bytes(self.vocabulary * self.activation_width * work.logits_rows);
            communication.messages += 1.0 / pipeline;
        }
        if expert > 1.0 {
            for layers in &self.experts {
                let routed = work.tokens * layers.top_k * layers.inputs * self.activation_width;
                let away = (expert - 1.0) / expert;
                communication.point_to_point += Bytes(2.0 * routed * away * layers.layers / tensor);
                communication.messages += 2.0 * layers.layers;
            }
        }
        if pipeline > 1.0 {
            let handed_on = (pipeline - 1.0) / pipeline;
            communication.point_to_point += Bytes(stream * handed_on);
            communication.messages += handed_on;
        }
        communication
    }
}
