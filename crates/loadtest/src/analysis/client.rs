//! What a client's token counts show about the server, by the roofline model.
//!
//! Requests are spread evenly over the run: decode steps carry the average number of requests that were answering, at the mean context;
//! each prompt is processed in steps of its own. Weights that a prompt's step shares with concurrent decodes are counted twice.

use super::run::{Basis, ModelledRun, RooflinePoint, RunWorkload};
use super::subject::Subject;
use crate::results::LoadResult;
use roofline::bound::TimeSeconds;
use roofline::cost::step::RequestGroup;
use roofline::predict::{Predictor, Serving, StepPrediction};
use roofline::units::{Bytes, Flops, Seconds, ratio};

/// The load of `result` as it was measured.
pub(super) fn workload(result: &LoadResult) -> RunWorkload {
    let tokens = result.mean_tokens();
    RunWorkload {
        sent: result.load,
        concurrency: result.concurrency(),
        input_tokens: tokens.map(|tokens| tokens.input),
        cached_tokens: tokens.and_then(|tokens| tokens.cached),
        output_tokens: tokens.map(|tokens| tokens.output),
    }
}

/// The roofline figures of `result`; `None` while the model or the lengths are unknown.
pub(super) fn modelled(subject: &Subject, result: &LoadResult) -> Option<ModelledRun> {
    let predictor = subject.predictor()?;
    let serving = subject.serving(&workload(result))?;
    let engine = ReplicaShare {
        requests: result.completed as f64 / subject.replicas(),
        seconds: result.duration,
        decoding: decoding(result).map(|requests| requests / subject.replicas()),
    };
    Some(engine.modelled(subject, &predictor, &serving))
}

/// Average number of requests between their first and last token.
fn decoding(result: &LoadResult) -> Option<f64> {
    let (ttft, e2e) = (result.latency.ttft.as_ref()?, result.latency.e2e.as_ref()?);
    let answering = e2e.mean_seconds? - ttft.mean_seconds?;
    ratio(
        answering.max(0.0) * result.completed as f64,
        result.duration.0,
    )
}

/// One replica's share of a run.
struct ReplicaShare {
    requests: f64,
    seconds: Seconds,
    decoding: Option<f64>,
}

/// The work of all steps of a phase on one GPU.
#[derive(Clone, Copy, Default)]
struct Share {
    flops: Flops,
    bytes: Bytes,
    /// Seconds at the attainable ceilings, by component.
    time: TimeSeconds,
}

impl Share {
    /// `count` steps like `step`.
    fn of(step: &StepPrediction, count: f64) -> Self {
        let time = step
            .time_seconds
            .map_or_else(TimeSeconds::default, |time| TimeSeconds {
                compute: time.compute * count,
                memory: time.memory * count,
                communication: time.communication * count,
                ..TimeSeconds::default()
            });
        Self {
            flops: step.flops_per_gpu * count,
            bytes: (step.bytes_per_gpu + step.activation_bytes_per_gpu) * count,
            time,
        }
    }

    fn seconds(&self) -> Seconds {
        self.time.compute + self.time.memory + self.time.communication
    }
}

impl ReplicaShare {
    fn modelled(&self, subject: &Subject, predictor: &Predictor, serving: &Serving) -> ModelledRun {
        let gpus = subject.facts.gpus();
        let batch = self.decoding.unwrap_or(serving.batch).max(1.0);
        let context = serving.input_tokens + serving.output_tokens / 2.0;
        let decode_steps = self.requests * (serving.output_tokens - 1.0).max(0.0) / batch;
        let decode_step = predictor.step(&[RequestGroup::decode(batch, context)]);
        let decode = Share::of(&decode_step, decode_steps);
        let uncached = serving.input_tokens - serving.cached_tokens;
        let prompt = RequestGroup::prefill(1.0, uncached, serving.cached_tokens);
        let prefill = Share::of(&predictor.step(&[prompt]), self.requests);

        let flops = (decode.flops + prefill.flops) * gpus;
        let bytes = (decode.bytes + prefill.bytes) * gpus;
        let facts = &subject.facts;
        let peak_flops = facts.peak_flops().map(|peak| peak * self.seconds);
        let peak_bytes = facts.peak_hbm().map(|peak| peak * self.seconds);
        let all = subject.replicas();
        ModelledRun {
            basis: Basis::ClientCounts,
            flops: Some(flops * all),
            hbm_bytes: Some(bytes * all),
            arithmetic_intensity: ratio(flops.0, bytes.0),
            mfu: peak_flops.and_then(|peak| ratio(flops.0, peak.0)),
            mbu: peak_bytes.and_then(|peak| ratio(bytes.0, peak.0)),
            decode_batch: (decode_steps > 0.0).then_some(batch),
            context_tokens: (decode_steps > 0.0).then_some(context),
            time_seconds: facts.gpu.as_ref().map(|_| self.split(&prefill, &decode)),
            prefill: self.point(&prefill, &decode, gpus),
            decode: self.point(&decode, &prefill, gpus),
        }
    }

    /// The run's seconds by component; the steps' seconds are scaled down where they exceed the run.
    fn split(&self, prefill: &Share, decode: &Share) -> TimeSeconds {
        let explained = prefill.seconds() + decode.seconds();
        let fit = ratio(self.seconds.0, explained.0).map_or(1.0, |fit| fit.min(1.0));
        TimeSeconds {
            compute: (prefill.time.compute + decode.time.compute) * fit,
            memory: (prefill.time.memory + decode.time.memory) * fit,
            communication: (prefill.time.communication + decode.time.communication) * fit,
            overhead: (self.seconds - explained).max(Seconds::ZERO),
            ..TimeSeconds::default()
        }
    }

    /// The operating point of a phase: its work over its part of the run. The run is divided by the phases' roofline seconds.
    fn point(&self, own: &Share, other: &Share, gpus: f64) -> Option<RooflinePoint> {
        let part = ratio(own.seconds().0, (own.seconds() + other.seconds()).0)?;
        Some(RooflinePoint {
            intensity: ratio(own.flops.0, own.bytes.0)?,
            flops_per_second: ratio(own.flops.0 * gpus, self.seconds.0 * part)?,
        })
    }
}
