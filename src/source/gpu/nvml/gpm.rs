//! GPM: the activity of the GPU's units between two samples.

use nvml_wrapper::enums::gpm::GpmMetricId as Metric;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::{GpmSample, gpm_metrics_get};
use nvml_wrapper::{Device, Nvml};

use crate::sample::gpu::{Availability, Cause, Gpm, Traffic};
use roofline::units::{BytesPerSecond, Seconds};

use super::device::cause;

/// Samples further apart than this, more than twice the longest tick, span an outage.
const FARTHEST: Seconds = Seconds(150.0);
/// How long a denial is assumed to last before the next attempt.
const DENIED: Seconds = Seconds(300.0);
/// NVML's header says MiB/s; the wrapper's comments say bytes.
const MIB: f64 = 1_048_576.0;

/// Minimum time between reads of the graphics activity: the driver needs 1.5 ms of CPU time for it (580.159, H100), and less than half of
/// that for all others together.
const ACTIVITY_EVERY: Seconds = Seconds(0.9);

/// The metrics read from every pair. `GraphicsUtil` is added when it is due.
const METRICS: [Metric; 9] = [
    Metric::DramBwUtil,
    Metric::AnyTensorUtil,
    Metric::SmUtil,
    Metric::SmOccupancy,
    Metric::PcieTxPerSec,
    Metric::PcieRxPerSec,
    Metric::NvlinkTotalTxPerSec,
    Metric::NvlinkTotalRxPerSec,
    Metric::GraphicsUtil,
];

/// GPM of one GPU: the last sample, to be paired with the next.
#[derive(Debug)]
pub(super) struct GpmPairs<'nvml> {
    access: Availability,
    denied_at: Option<Seconds>,
    /// Whether any NVLink is up: without one, its counters still read 0.
    nvlink: bool,
    last: Option<(Seconds, GpmSample<'nvml>)>,
    /// Graphics activity as last read, with its time.
    activity: Option<(Seconds, f64)>,
}

impl<'nvml> GpmPairs<'nvml> {
    /// GPM of `device`, if supported; `nvlink` says whether any NVLink is up.
    pub(super) fn of(device: &Device<'nvml>, nvlink: Option<bool>) -> Self {
        let access = match device.gpm_support() {
            Ok(true) => Availability::Offered,
            Ok(false) => Availability::Absent(Cause::NotSupported),
            Err(error) => Availability::Absent(cause(&error)),
        };
        Self {
            access,
            denied_at: None,
            nvlink: nvlink == Some(true),
            last: None,
            activity: None,
        }
    }

    /// No GPM, with the reason.
    pub(super) const fn absent(cause: Cause) -> Self {
        Self {
            access: Availability::Absent(cause),
            denied_at: None,
            nvlink: false,
            last: None,
            activity: None,
        }
    }

    pub(super) const fn access(&self) -> Availability {
        self.access
    }

    /// Samples `device` at `now`. Returns the counters since the previous sample, or `None` if the two are not a valid pair.
    ///
    /// # Errors
    /// Those of NVML. A denial holds for minutes, an absence forever.
    pub(super) fn read(
        &mut self,
        nvml: &'nvml Nvml,
        device: &Device<'nvml>,
        now: Seconds,
    ) -> Result<Option<Gpm>, NvmlError> {
        let waiting = self.denied_at.is_some_and(|denied| now - denied < DENIED);
        if waiting || !(self.access.is_offered() || self.denied_at.is_some()) {
            return Ok(None);
        }
        let sample = match device.gpm_sample() {
            Ok(sample) => sample,
            Err(error) => return Err(self.refused(error, now)),
        };
        self.access = Availability::Offered;
        self.denied_at = None;
        let before = self.last.replace((now, sample));
        let Some(((then, before), (_, sample))) = before.zip(self.last.as_ref()) else {
            return Ok(None);
        };
        if now - then > FARTHEST {
            return Ok(None);
        }
        let is_due = |(read, _): &(Seconds, f64)| now - *read >= ACTIVITY_EVERY;
        let due = self.activity.as_ref().is_none_or(is_due);
        let metrics = if due {
            &METRICS[..]
        } else {
            &METRICS[..METRICS.len() - 1]
        };
        let counted = counters(nvml, &before, sample, metrics)?;
        if due {
            self.activity = counted.and_then(|gpm| Some((now, gpm.graphics?)));
        }
        Ok(counted.map(|gpm| Gpm {
            nvlink: gpm.nvlink.filter(|_| self.nvlink),
            graphics: self.activity.map(|(_, share)| share),
            ..gpm
        }))
    }

    fn refused(&mut self, error: NvmlError, now: Seconds) -> NvmlError {
        self.last = None;
        self.activity = None;
        match cause(&error) {
            Cause::NoPermission => {
                self.denied_at = Some(now);
                self.access = Availability::Absent(Cause::NoPermission);
            }
            // The next sample may succeed.
            Cause::Failed => {}
            lasting => self.access = Availability::Absent(lasting),
        }
        error
    }
}

/// The driver's evaluation of two samples; `None` if they are too close: DRAM is then not a number.
fn counters<'nvml>(
    nvml: &'nvml Nvml,
    before: &GpmSample<'nvml>,
    after: &GpmSample<'nvml>,
    metrics: &[Metric],
) -> Result<Option<Gpm>, NvmlError> {
    let mut gpm = Gpm::default();
    let mut sent = [None; 2];
    let mut received = [None; 2];
    for metric in gpm_metrics_get(nvml, before, after, metrics)?
        .into_iter()
        .flatten()
    {
        // A metric that this GPU does not support reads 0 and has no name.
        if metric.metric_info.short_name.is_empty() {
            continue;
        }
        if !metric.value.is_finite() {
            if metric.metric_id == Metric::DramBwUtil {
                return Ok(None);
            }
            continue;
        }
        let share = Some(metric.value / 100.0);
        let rate = Some(BytesPerSecond(metric.value * MIB));
        match metric.metric_id {
            Metric::DramBwUtil => gpm.dram_bandwidth = share,
            Metric::AnyTensorUtil => gpm.any_tensor = share,
            Metric::SmUtil => gpm.sm = share,
            Metric::SmOccupancy => gpm.sm_occupancy = share,
            Metric::GraphicsUtil => gpm.graphics = share,
            Metric::PcieTxPerSec => sent[0] = rate,
            Metric::PcieRxPerSec => received[0] = rate,
            Metric::NvlinkTotalTxPerSec => sent[1] = rate,
            Metric::NvlinkTotalRxPerSec => received[1] = rate,
            _ => {}
        }
    }
    let traffic = |link: usize| {
        let (sent, received) = sent[link].zip(received[link])?;
        Some(Traffic { sent, received })
    };
    gpm.pcie = traffic(0);
    gpm.nvlink = traffic(1);
    Ok(Some(gpm))
}
