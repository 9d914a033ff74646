//! Implausible values are never added: counters survive restarts of vLLM, so one wrong account would stay in them forever.

use crate::sample::gpu::{Gpm, GpuReading, Traffic};
use roofline::engine::EngineFacts;
use roofline::units::{BytesPerSecond, Joules, Seconds};

use super::account::{Account, BusyTime, PerPhase};
use super::hardware::HardwareUse;

/// vLLM counts a prompt at its first token, so a span may contain work of the minutes before it.
const COUNTED_LATE: Seconds = Seconds(300.0);
/// Tolerated error factor of datasheet and model.
const HEADROOM: f64 = 4.0;
/// Limit for a GPU with unknown ceilings, above any existing GPU.
const MOST_FLOPS: f64 = 1e17;
const MOST_HBM_BYTES: f64 = 1e14;
/// Tokens per second of one GPU: a model of 10 million parameters on the fastest GPU.
const MOST_TOKENS: f64 = 1e9;
/// Requests in one engine.
const MOST_REQUESTS: f64 = 1e7;
/// Tolerated error factor of vLLM's own estimates, which is larger.
const ESTIMATE_HEADROOM: f64 = 100.0;

/// Power of one GPU. The largest draw slightly more than 1 kW.
const MOST_WATTS: f64 = 1e4;
/// Minimum time assumed for an energy difference: the clock may have been set back.
const SHORTEST_OUTAGE: Seconds = Seconds(3600.0);
/// Clock of any GPU.
const MOST_MHZ: f64 = 1e5;
/// Bytes over PCIe, NVLink or to HBM.
const MOST_LINK_BYTES: f64 = 1e14;

impl Account {
    /// Whether the engine's GPUs could have done all this in the span: every number is finite, and none exceeds what the ceilings allow.
    pub(super) fn is_plausible(&self, facts: &EngineFacts) -> bool {
        self.is_finite() && self.fits(facts)
    }

    fn fits(&self, facts: &EngineFacts) -> bool {
        let gpus = facts.gpus();
        let seconds = (self.seconds + COUNTED_LATE).0;
        let flops = facts.peak_flops().map_or(MOST_FLOPS * gpus, |peak| peak.0);
        let bytes = facts
            .peak_hbm()
            .map_or(MOST_HBM_BYTES * gpus, |peak| peak.0);
        let flops = flops * seconds * HEADROOM;
        let bytes = bytes * seconds * HEADROOM;
        let tokens = MOST_TOKENS * gpus * seconds;
        let request_seconds = MOST_REQUESTS * seconds;
        let work = self.work.unwrap_or_default();
        let counted = [
            self.tokens.total(),
            self.output_tokens,
            self.steps,
            self.decode_steps,
            self.decode_request_steps,
            self.preemptions,
            self.vanished.abs(),
            self.time_to_first_token.count,
            self.inter_token_latency.count,
        ];
        let waited = [
            self.queue.running_seconds,
            self.queue.waiting_seconds,
            self.time_to_first_token.sum,
            self.inter_token_latency.sum,
        ];
        work.flops.total().0 <= flops
            && work.bytes.total().total().0 <= bytes
            && self.vllm_estimated_flops.0 <= flops * ESTIMATE_HEADROOM
            && self.vllm_estimated_bytes.0 <= bytes * ESTIMATE_HEADROOM
            && counted.into_iter().all(|count| count <= tokens)
            && waited.into_iter().all(|waited| waited <= request_seconds)
    }

    fn is_finite(&self) -> bool {
        let phases = |times: PerPhase<Seconds>| [times.prefill.0, times.decode.0];
        let own = [
            self.seconds.0,
            self.busy.0,
            self.stalled.0,
            self.context_weight,
            self.queue.queued.0,
        ];
        let early = self.early.unwrap_or_default();
        own.iter()
            .chain(&phases(self.phase_roofline))
            .chain(&phases(self.phase_overhead))
            .chain(&components(&self.busy_time.unwrap_or_default()))
            .chain(&components(&early.time))
            .chain(&[
                early.work.flops.total().0,
                early.work.bytes.total().total().0,
            ])
            .chain(&measured(&self.hardware))
            .all(|number| number.is_finite())
    }
}

fn components(time: &BusyTime) -> [f64; 4] {
    [time.compute, time.memory, time.communication, time.overhead].map(|time| time.0)
}

fn measured(used: &HardwareUse) -> [f64; 6] {
    [
        used.hbm_bytes.0,
        used.nvlink_sent.0,
        used.energy.0,
        used.clock_mhz_seconds,
        used.tensor_mhz_seconds,
        used.power_limited_seconds.0,
    ]
}

/// `reading` without impossible values: a clock is positive or absent.
pub(super) fn believed(reading: GpuReading) -> GpuReading {
    let within = |value: Option<f64>, most: f64| value.filter(|value| (0.0..=most).contains(value));
    let clock = |value| within(value, MOST_MHZ).filter(|&mhz| mhz > 0.0);
    GpuReading {
        sm_clock_mhz: clock(reading.sm_clock_mhz),
        mem_clock_mhz: clock(reading.mem_clock_mhz),
        energy: reading.energy.filter(|energy| energy.0.is_finite()),
        power_watts: within(reading.power_watts, MOST_WATTS),
        gpm: reading.gpm.map(believed_counters),
        ..reading
    }
}

fn believed_counters(gpm: Gpm) -> Gpm {
    let share = |value: Option<f64>| value.filter(|share| (0.0..=1.5).contains(share));
    let rate = |rate: BytesPerSecond| (0.0..=MOST_LINK_BYTES).contains(&rate.0);
    let link = |traffic: Option<Traffic<BytesPerSecond>>| {
        traffic.filter(|traffic| rate(traffic.sent) && rate(traffic.received))
    };
    Gpm {
        dram_bandwidth: share(gpm.dram_bandwidth),
        any_tensor: share(gpm.any_tensor),
        pcie: link(gpm.pcie),
        nvlink: link(gpm.nvlink),
        ..gpm
    }
}

/// `bandwidth`, if it is plausible.
pub(super) fn believed_bandwidth(bandwidth: BytesPerSecond) -> Option<BytesPerSecond> {
    (0.0..=MOST_LINK_BYTES)
        .contains(&bandwidth.0)
        .then_some(bandwidth)
}

/// Whether a GPU can use `energy` in `elapsed`, given that the clock may have been set.
pub(super) fn is_energy_of(energy: Joules, elapsed: Seconds) -> bool {
    (0.0..=MOST_WATTS * elapsed.max(SHORTEST_OUTAGE).0).contains(&energy.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roofline::units::Flops;

    fn account() -> Account {
        Account::idle(Seconds(1.0), HardwareUse::default())
    }

    #[test]
    fn what_no_gpu_can_do_is_no_account() {
        let facts = EngineFacts::default();
        assert!(account().is_plausible(&facts));
        type Spoil = fn(&mut Account);
        let spoilt: [(&str, Spoil); 8] = [
            ("tokens", |account| account.tokens.decode = 1e20),
            ("output tokens", |account| account.output_tokens = 1e29),
            ("no number", |account| account.context_weight = f64::NAN),
            ("endless", |account| {
                account.phase_overhead.decode = Seconds(f64::INFINITY)
            }),
            ("queue", |account| account.queue.running_seconds = 1e30),
            ("latency", |account| account.time_to_first_token.sum = 1e25),
            ("flops", |account| {
                account.work.get_or_insert_default().flops.prefill = Flops(1e30);
            }),
            ("clock", |account| {
                account.busy_time.get_or_insert_default().compute = Seconds(f64::NAN);
            }),
        ];
        for (name, spoil) in spoilt {
            let mut account = account();
            spoil(&mut account);
            assert!(!account.is_plausible(&facts), "{name}");
        }
    }

    #[test]
    fn a_clock_is_above_zero_or_absent() {
        for (clock, expected) in [(0.0, None), (f64::NAN, None), (1980.0, Some(1980.0))] {
            let reading = GpuReading {
                sm_clock_mhz: Some(clock),
                mem_clock_mhz: Some(clock),
                ..GpuReading::default()
            };
            let believed = believed(reading);
            assert_eq!(believed.sm_clock_mhz, expected);
            assert_eq!(believed.mem_clock_mhz, expected);
        }
    }
}
