//! The meter of one engine: takes readings, and produces spans and running totals.

use std::sync::Arc;

use crate::sample::engine::{EngineTotals, Gauge};
use roofline::cost::coefficients::Coefficients;
use roofline::units::Seconds;

use super::account::{Account, Routing, TimeSpent};
use super::bound_hysteresis::{BOUND_WINDOW, BoundHysteresis};
use super::calibration::Calibration;
use super::hardware::HardwareUse;
use super::interval::{Gap, Interval};
use super::prompt_ledger::PromptLedger;
use super::spans::{AccountedSpan, Spans};
use super::steps::RecentPrompts;
use super::verdict;
use roofline::bound::{Bound, EngineState};
use roofline::engine::EngineFacts;

/// Settings of a meter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeterSettings {
    /// Length of the trailing window of the gauges.
    pub window: Seconds,
    /// Period of the bound that is shown.
    pub bound_window: Seconds,
    /// Requests in the engine without progress for this long are a stall.
    pub stall_after: Seconds,
    /// Readings further apart than this are not compared.
    pub longest_interval: Seconds,
    /// Below this share of busy time, the roofline does not explain where the time goes.
    pub overhead_below: f64,
    /// Whether attainable ceilings and overheads follow the measurements.
    pub calibrate: bool,
    /// Dollars per GPU-hour, if the user set them; otherwise the list price is used.
    pub gpu_hour_price: Option<f64>,
}

impl Default for MeterSettings {
    fn default() -> Self {
        Self {
            window: Seconds(10.0),
            bound_window: BOUND_WINDOW,
            stall_after: Seconds(5.0),
            longest_interval: Seconds(300.0),
            overhead_below: verdict::OVERHEAD_BELOW,
            calibrate: false,
            gpu_hour_price: None,
        }
    }
}

/// The running account of one engine.
#[derive(Debug)]
pub struct EngineMeter {
    /// Facts about the engine's model and GPUs.
    pub facts: Arc<EngineFacts>,
    /// Sums since the start of the program, as vLLM counted; a restart of vLLM does not reset them.
    pub totals: Account,
    /// Dollars since a price was set; each second costs the price at that time.
    pub cost_dollars: f64,
    /// Number of resets of vLLM's counters.
    pub restarts: u64,
    /// Seconds in which vLLM could not be read.
    unread_total: Seconds,
    /// The newest reading.
    pub latest: Option<EngineTotals>,
    /// The newest spans, enough for one window, and the sums of all settled ones.
    pub spans: Spans,
    /// The newest prompts known.
    prompts: RecentPrompts,
    /// Estimates the computed prompt tokens if vLLM does not export them.
    prompt_ledger: PromptLedger,
    /// The estimate of expert routing.
    routing: Routing,
    /// The reading from which time is not yet accounted.
    anchor: Option<EngineTotals>,
    /// Time of the last progress.
    moved: Seconds,
    /// The unreachable part of the time that is not yet accounted.
    unreachable: Seconds,
    /// The end of the known unreachable time.
    missed_until: Seconds,
    hysteresis: BoundHysteresis,
    calibration: Calibration,
    /// The coefficients before calibration.
    stated: Option<Coefficients>,
    bound: Bound,
}

impl EngineMeter {
    /// The meter of an engine that was not read yet.
    #[must_use]
    pub fn new(facts: Arc<EngineFacts>) -> Self {
        Self {
            facts,
            totals: Account::default(),
            cost_dollars: 0.0,
            restarts: 0,
            unread_total: Seconds::ZERO,
            latest: None,
            spans: Spans::default(),
            prompts: RecentPrompts::default(),
            prompt_ledger: PromptLedger::default(),
            routing: Routing::default(),
            anchor: None,
            moved: Seconds::ZERO,
            unreachable: Seconds::ZERO,
            missed_until: Seconds::ZERO,
            hysteresis: BoundHysteresis::default(),
            calibration: Calibration::default(),
            stated: None,
            bound: Bound::Unknown,
        }
    }

    /// Takes one more reading; `hardware` returns the GPU activity of the engine over a time span.
    ///
    /// Time is accounted as soon as the counters show what happened in it. vLLM counts a prompt at its first token, so while requests run
    /// and no counter moves, the time is held, and accounted together with the output that ends it, or as stalled.
    ///
    /// # Errors
    /// The [`Gap`] for which the time since the previous reading is discarded.
    pub fn observe(
        &mut self,
        mut totals: EngineTotals,
        settings: &MeterSettings,
        hardware: impl Fn(Seconds, Seconds) -> HardwareUse,
    ) -> Result<Option<AccountedSpan>, Gap> {
        self.prompt_ledger.complete(&mut totals);
        if self
            .latest
            .as_ref()
            .is_none_or(|latest| moved(latest, &totals))
        {
            self.moved = totals.time;
        }
        self.latest = Some(totals.clone());
        let Some(anchor) = &self.anchor else {
            self.anchor = Some(totals);
            return Ok(None);
        };
        let interval = match Interval::between(anchor, &totals, settings.longest_interval) {
            Ok(interval) => interval,
            Err(gap) => {
                self.restart(gap, totals);
                return Err(gap);
            }
        };
        let hardware = hardware(interval.start, interval.end);
        let patience = settings.stall_after + totals.published_every;
        let still_for_long = totals.time - self.moved >= patience;
        // A page that is published periodically may show an earlier state: idle time is known late, too.
        let is_late = totals.published_every > Seconds::ZERO && !interval.produced();
        if is_late && interval.seconds() < patience {
            return Ok(None);
        }
        let Some(account) = self.account(&interval, hardware, still_for_long) else {
            return Ok(None);
        };
        if !account.is_plausible(&self.facts) {
            self.restart(Gap::Implausible, totals);
            return Err(Gap::Implausible);
        }
        self.anchor = Some(totals);
        Ok(Some(self.push(&interval, account, settings)))
    }

    /// The account of `interval`, or `None` while it is not yet known.
    fn account(
        &mut self,
        interval: &Interval,
        hardware: HardwareUse,
        still_for_long: bool,
    ) -> Option<Account> {
        let seconds = interval.seconds();
        if interval.produced() {
            self.prompts.learn(interval);
            let (facts, prompts) = (&self.facts, &self.prompts);
            Some(Account::of(
                interval,
                facts,
                prompts,
                &mut self.routing,
                hardware,
            ))
        } else if !interval.occupied() || interval.after.asleep {
            Some(Account::idle(seconds, hardware))
        } else if still_for_long {
            Some(Account::stalled(seconds, hardware))
        } else {
            None
        }
    }

    fn push(
        &mut self,
        interval: &Interval,
        account: Account,
        settings: &MeterSettings,
    ) -> AccountedSpan {
        self.totals.add(&account);
        let price = self.facts.dollars_per_second(settings.gpu_hour_price);
        self.cost_dollars += price.unwrap_or(0.0) * account.seconds.0;
        let span = AccountedSpan {
            start: interval.start,
            end: interval.end,
            account,
            unread: std::mem::take(&mut self.unreachable),
        };
        self.spans.push(span.clone(), &self.facts, settings);
        if !interval.occupied() {
            self.spans.settle_newest(&self.facts);
        }
        self.show_bound(settings);
        if settings.calibrate {
            self.calibrate(&span.account);
        }
        span
    }

    fn calibrate(&mut self, account: &Account) {
        self.calibration.learn(account, &self.facts);
        if let Some(coefficients) = self.calibration.adjusted(&self.facts) {
            let facts = Arc::make_mut(&mut self.facts);
            self.stated.get_or_insert(facts.coefficients);
            facts.coefficients = coefficients;
        }
    }

    /// The bound follows the newest seconds while the engine runs.
    fn show_bound(&mut self, settings: &MeterSettings) {
        let shown = self
            .recently(settings.bound_window)
            .map(|recent| self.hysteresis.next(&recent, settings.overhead_below));
        self.bound = match self.state() {
            EngineState::Running => shown.unwrap_or(Bound::Unknown),
            EngineState::Idle | EngineState::Sleeping => Bound::Idle,
            EngineState::Stalled | EngineState::Unreachable => Bound::Unknown,
        };
    }

    /// The newest `length` seconds by component.
    #[must_use]
    pub fn recently(&self, length: Seconds) -> Option<TimeSpent> {
        self.spans.recently(length)
    }

    /// Seconds by bound, each span attributed to its own; up to one span behind while requests run.
    #[must_use]
    pub fn bound_seconds(&self) -> [Seconds; Bound::ALL.len()] {
        let mut seconds = self.spans.bound_seconds;
        seconds[Bound::Unknown as usize] += self.unread_total;
        seconds
    }

    /// Notes that vLLM's page could not be read at `now`: the time since then counts as `unknown`.
    pub fn miss(&mut self, now: Seconds) {
        let Some(latest) = &self.latest else {
            return;
        };
        let missed = (now - latest.time.max(self.missed_until)).max(Seconds::ZERO);
        self.unread_total += missed;
        self.unreachable += missed;
        self.missed_until = now;
    }

    /// Nothing will be handed back to the newest span any more.
    pub(super) fn settle(&mut self) {
        self.spans.settle_newest(&self.facts);
    }

    fn restart(&mut self, gap: Gap, mut totals: EngineTotals) {
        self.restarts += u64::from(gap == Gap::CounterReset);
        if matches!(gap, Gap::CounterReset | Gap::Implausible) {
            self.forget_life();
            self.prompt_ledger.start_over(&mut totals);
        }
        if gap != Gap::TooShort {
            self.forget_window();
            self.anchor = Some(totals);
        }
    }

    /// Forgets what belongs to one run of vLLM: another model may be served under the same name after a restart.
    fn forget_life(&mut self) {
        self.prompts = RecentPrompts::default();
        self.routing = Routing::default();
        self.calibration = Calibration::default();
        if let Some(stated) = self.stated.take() {
            Arc::make_mut(&mut self.facts).coefficients = stated;
        }
    }

    fn forget_window(&mut self) {
        self.spans.clear(&self.facts);
        self.hysteresis = BoundHysteresis::default();
        self.bound = Bound::Unknown;
        self.unreachable = Seconds::ZERO;
    }

    /// The clock was set: earlier times cannot be compared with later ones. The totals stay.
    pub(super) fn forget_times(&mut self) {
        self.forget_window();
        self.prompt_ledger.forget();
        self.anchor = None;
        self.latest = None;
        self.missed_until = Seconds::ZERO;
    }

    /// Start and end of the time that is not yet accounted: requests are running, and their output is pending.
    #[must_use]
    pub fn pending(&self) -> Option<(Seconds, Seconds)> {
        let (from, to) = (self.anchor.as_ref()?.time, self.latest.as_ref()?.time);
        (to > from).then_some((from, to))
    }

    /// The spans of the last `length` up to `now`, merged, or `None` without spans.
    pub fn window(&mut self, now: Seconds, length: Seconds) -> Option<AccountedSpan> {
        self.spans.window(now, length, &self.facts)
    }

    /// The bound to show: that of the newest seconds, with hysteresis.
    #[must_use]
    pub const fn bound(&self) -> Bound {
        self.bound
    }

    /// The current state of the engine, from its newest span.
    #[must_use]
    pub fn state(&self) -> EngineState {
        let asleep = self.asleep();
        match self.spans.newest() {
            Some(span) if self.pending().is_none() => verdict::engine_state(&span.account, asleep),
            _ if asleep => EngineState::Sleeping,
            _ if self.occupied() => EngineState::Running,
            _ => EngineState::Idle,
        }
    }

    fn asleep(&self) -> bool {
        self.gauge(Gauge::Awake).is_some_and(|awake| awake < 0.5)
    }

    fn occupied(&self) -> bool {
        [Gauge::Running, Gauge::Waiting]
            .into_iter()
            .any(|gauge| self.gauge(gauge).is_some_and(|requests| requests > 0.0))
    }

    fn gauge(&self, gauge: Gauge) -> Option<f64> {
        self.latest.as_ref()?.gauges.get(gauge)
    }
}

/// Whether anything about the engine changed from one reading to the next.
fn moved(before: &EngineTotals, after: &EngineTotals) -> bool {
    before.counters != after.counters
        || before.gauges != after.gauges
        || before.histograms != after.histograms
}
