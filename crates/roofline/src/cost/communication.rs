//! What travels between the GPUs of a deployment in one step.
//!
//! Tensor parallelism sums T × H activations after each block and after the embedding; a ring moves `2(t−1)/t` of the payload over
//! each link. Logits are gathered on one rank. Experts spread over replicas dispatch and combine `T·k·H`; a pipeline hands T × H on.

use super::ceiling::Link;
use super::shard::Shard;
use super::step::StepWork;
use crate::units::{Bytes, Seconds};

/// Bytes and messages of one step, per GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Communication {
    /// All-reduces.
    pub all_reduces: f64,
    /// Bytes that each of them sums, all together.
    pub all_reduce_payload: Bytes,
    /// Share of the payload that passes each link, `2(t−1)/t`.
    pub ring_factor: f64,
    /// Bytes sent besides: logits, expert tokens, pipeline stages.
    pub point_to_point: Bytes,
    /// Messages that carry them.
    pub messages: f64,
}

impl Communication {
    /// Bytes that pass one link, one way.
    #[must_use]
    pub fn link_bytes(&self) -> Bytes {
        self.all_reduce_payload * self.ring_factor + self.point_to_point
    }

    /// Time at the link's bandwidth, latencies included.
    #[must_use]
    pub fn seconds(&self, link: &Link) -> Seconds {
        self.link_bytes() / link.bandwidth + link.latency * (self.all_reduces + self.messages)
    }
}

/// How a shard takes part in communication.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Peers {
    pub(super) tensor: f64,
    pub(super) pipeline: f64,
    /// Ranks that exchange tokens with experts, 1 without.
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
            communication.ring_factor = 2.0 * (tensor - 1.0) / tensor;
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
