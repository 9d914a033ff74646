//! `Probe`: measures the client's own overhead during a run.
//!
//! A thread outside the runtime writes the time into a socket, and a task of the runtime reads it, as the workers read chunks. The delay is
//! the error of a chunk's timestamp: waiting for the processor and for earlier tasks in the queue.

use std::io::Write;
use std::os::unix::net::UnixStream as Writer;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::run::ClientCost;
use roofline::statistics::quantile;

/// Time between probes.
const PAUSE: Duration = Duration::from_millis(5);

/// A measurement under way.
#[derive(Debug)]
pub struct Probe {
    cpu: f64,
    lags: JoinHandle<Vec<f64>>,
    stop: Writer,
}

impl Probe {
    /// Starts measuring.
    ///
    /// # Errors
    /// When the system provides no socket.
    pub fn start() -> std::io::Result<Self> {
        let (mut writer, reader) = Writer::pair()?;
        reader.set_nonblocking(true)?;
        let mut reader = UnixStream::from_std(reader)?;
        let stop = writer.try_clone()?;
        let epoch = Instant::now();
        std::thread::Builder::new()
            .name("lag-probe".to_owned())
            .spawn(move || {
                loop {
                    let now = epoch.elapsed().as_secs_f64();
                    // The reader is gone: the run is over.
                    if writer.write_all(&now.to_le_bytes()).is_err() {
                        return;
                    }
                    std::thread::sleep(PAUSE);
                }
            })?;
        let lags = tokio::spawn(async move {
            let mut lags = Vec::new();
            let mut sent = [0; 8];
            while reader.read_exact(&mut sent).await.is_ok() {
                lags.push(epoch.elapsed().as_secs_f64() - f64::from_le_bytes(sent));
            }
            lags
        });
        Ok(Self {
            cpu: cpu_seconds(),
            lags,
            stop,
        })
    }

    /// Stops measuring.
    pub async fn finish(self) -> ClientCost {
        // Both ends see the shutdown: the thread's next write fails, the task's next read ends.
        let _ = self.stop.shutdown(std::net::Shutdown::Both);
        let mut lags = self.lags.await.unwrap_or_default();
        lags.sort_by(f64::total_cmp);
        ClientCost {
            cpu_seconds: cpu_seconds() - self.cpu,
            event_lag_p99_seconds: quantile(&lags, 0.99).unwrap_or(0.0),
        }
    }
}

/// CPU time of this process, over all threads.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).map_or(0.0, |time| time.as_secs_f64())
}
