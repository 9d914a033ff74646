//! The thread that owns NVML: it answers requests, and restarts NVML when a GPU is lost.

use std::sync::mpsc::Receiver;

use nvml_wrapper::Nvml;
use tokio::sync::mpsc::Sender;

use crate::sample::gpu::GpuIdentity;
use crate::source::gpu::{GpuError, GpuReadResult};
use roofline::units::Seconds;

use super::session::Session;
use super::{Answer, of_init};

/// Pause before the first restart.
const SHORTEST_PAUSE: Seconds = Seconds(1.0);
/// Maximum pause, however often it failed.
const LONGEST_PAUSE: Seconds = Seconds(30.0);

/// The source was dropped.
struct Over;

/// Answers requests until the source is dropped.
pub(super) fn run(
    devices: &[String],
    clock: fn() -> Seconds,
    requests: &Receiver<()>,
    answers: &Sender<Answer>,
) {
    let mut reader = NvmlReader {
        devices,
        clock,
        requests,
        answers,
        pause: SHORTEST_PAUSE,
        sent_facts: Vec::new(),
    };
    while reader.run_session().is_ok() {}
}

struct NvmlReader<'a> {
    devices: &'a [String],
    clock: fn() -> Seconds,
    requests: &'a Receiver<()>,
    answers: &'a Sender<Answer>,
    /// Pause before the next restart.
    pause: Seconds,
    /// The facts last sent.
    sent_facts: Vec<GpuIdentity>,
}

impl NvmlReader<'_> {
    /// One run of NVML.
    fn run_session(&mut self) -> Result<(), Over> {
        match Nvml::init() {
            Ok(nvml) => self.live(&nvml),
            Err(error) => self.back_off(&of_init(&error)),
        }
    }

    /// Reads until the GPUs change, or a failure has lasted for the pause.
    fn live(&mut self, nvml: &Nvml) -> Result<(), Over> {
        let mut session = Session::open(nvml, self.devices);
        let mut failing_since = None;
        loop {
            self.requests.recv().map_err(|_| Over)?;
            let now = (self.clock)();
            let same = session.survey(now);
            let sight = session.read(self.clock);
            let failed = sight.problem.is_some();
            let facts = if failed {
                self.with_lost(session.facts())
            } else {
                session.facts()
            };
            self.answer(sight, facts)?;
            if !same {
                tracing::info!("the GPUs have changed: NVML restarts");
                return Ok(());
            }
            if !failed {
                failing_since = None;
                self.pause = SHORTEST_PAUSE;
            } else if now - *failing_since.get_or_insert(now) >= self.pause {
                self.lengthen_pause();
                return Ok(());
            }
        }
    }

    /// Answers every request with the reason why NVML is not available, until the next attempt.
    fn back_off(&mut self, error: &GpuError) -> Result<(), Over> {
        let until = (self.clock)() + self.pause;
        self.lengthen_pause();
        loop {
            self.requests.recv().map_err(|_| Over)?;
            self.answer(error.clone().into(), self.sent_facts.clone())?;
            if (self.clock)() >= until {
                return Ok(());
            }
        }
    }

    /// The facts of a GPU do not change while it cannot be read: `facts`, and those of previously known GPUs.
    fn with_lost(&self, facts: Vec<GpuIdentity>) -> Vec<GpuIdentity> {
        let is_back = |lost: &GpuIdentity| facts.iter().any(|gpu| gpu.uuid == lost.uuid);
        let mut known: Vec<_> = self
            .sent_facts
            .iter()
            .filter(|sent_facts| !is_back(sent_facts))
            .cloned()
            .collect();
        known.extend(facts);
        known
    }

    fn lengthen_pause(&mut self) {
        self.pause = (self.pause * 2.0).min(LONGEST_PAUSE);
    }

    fn answer(&mut self, sight: GpuReadResult, facts: Vec<GpuIdentity>) -> Result<(), Over> {
        let facts = (facts != self.sent_facts).then_some(facts);
        if let Some(facts) = &facts {
            self.sent_facts.clone_from(facts);
        }
        self.answers
            .blocking_send(Answer { sight, facts })
            .map_err(|_| Over)
    }
}
