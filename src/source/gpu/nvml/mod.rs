//! The driver's own library, called from its own thread: NVML blocks, and a GPU that is being reset can delay a call for seconds.
//!
//! One request per tick goes to the thread, one answer returns. The thread owns all NVML objects, and restarts NVML on failure.

mod device;
mod gpm;
mod session;
mod thread;

use std::sync::mpsc;
use std::time::Duration;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use tokio::sync::mpsc as answers;
use tokio::time::timeout;

use crate::sample::gpu::GpuIdentity;
use roofline::units::Seconds;

use super::{GpuError, GpuReadResult};

/// The thread's answer to a request.
#[derive(Debug)]
struct Answer {
    sight: GpuReadResult,
    /// The GPUs, if they have changed.
    facts: Option<Vec<GpuIdentity>>,
}

/// Readings of NVML.
#[derive(Debug)]
pub struct NvmlSource {
    requests: mpsc::Sender<()>,
    answers: answers::Receiver<Answer>,
    /// Whether an answer is pending.
    awaiting: bool,
    /// Timeout of an answer.
    limit: Duration,
    facts: Vec<GpuIdentity>,
}

impl NvmlSource {
    /// Starts the thread. `devices` are UUIDs or indices of the GPUs to read, empty for all; `limit` is the timeout of an answer; `clock`
    /// dates the readings.
    ///
    /// # Errors
    /// When the system provides no thread.
    pub fn start(
        devices: Vec<String>,
        limit: Duration,
        clock: fn() -> Seconds,
    ) -> std::io::Result<Self> {
        let (requests, asked) = mpsc::channel();
        let (answer, answers) = answers::channel(1);
        std::thread::Builder::new()
            .name("nvml".to_owned())
            .spawn(move || thread::run(&devices, clock, &asked, &answer))?;
        Ok(Self {
            requests,
            answers,
            awaiting: false,
            limit,
            facts: Vec::new(),
        })
    }

    /// Whether the driver's library can be loaded.
    ///
    /// # Errors
    /// [`GpuError::LibraryMissing`].
    pub fn library() -> Result<(), GpuError> {
        match Nvml::init() {
            Err(error @ NvmlError::LibloadingError(_)) => Err(of_init(&error)),
            _ => Ok(()),
        }
    }

    pub(super) fn facts(&self) -> Vec<GpuIdentity> {
        self.facts.clone()
    }

    pub(super) async fn read(&mut self) -> GpuReadResult {
        if !self.awaiting {
            if self.requests.send(()).is_err() {
                return GpuError::Stopped.into();
            }
            self.awaiting = true;
        }
        match timeout(self.limit, self.answers.recv()).await {
            // The answer is still pending: the next tick takes it.
            Err(_) => GpuError::Timeout.into(),
            Ok(None) => GpuError::Stopped.into(),
            Ok(Some(answer)) => {
                self.awaiting = false;
                if let Some(facts) = answer.facts {
                    self.facts = facts;
                }
                answer.sight
            }
        }
    }
}

/// Classifies an error of `Nvml::init`.
fn of_init(error: &NvmlError) -> GpuError {
    match error {
        NvmlError::LibloadingError(cause) => GpuError::LibraryMissing(innermost(cause)),
        NvmlError::LibraryNotFound => GpuError::LibraryMissing(error.to_string()),
        NvmlError::DriverNotLoaded => GpuError::DriverNotLoaded,
        NvmlError::LibRmVersionMismatch => GpuError::VersionMismatch,
        NvmlError::NoPermission => GpuError::NoPermission("NVML".to_owned()),
        NvmlError::GpuLost | NvmlError::ResetRequired => {
            GpuError::GpuLost("of this host".to_owned())
        }
        other => GpuError::Nvml {
            place: "nvmlInit".to_owned(),
            cause: other.to_string(),
        },
    }
}

/// Classifies `error` of the GPU `name`.
fn of_gpu(name: &str, error: &NvmlError) -> GpuError {
    match error {
        NvmlError::GpuLost | NvmlError::ResetRequired => GpuError::GpuLost(name.to_owned()),
        NvmlError::NoPermission => GpuError::NoPermission(format!("GPU {name}")),
        NvmlError::DriverNotLoaded => GpuError::DriverNotLoaded,
        NvmlError::LibRmVersionMismatch => GpuError::VersionMismatch,
        other => GpuError::Nvml {
            place: format!("GPU {name}"),
            cause: other.to_string(),
        },
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
