//! Reads vLLM's page in the background: a slow page delays only its own engines.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::sample::engine::EngineTotals;
use crate::source::vllm::{VllmError, VllmSource};
use roofline::units::Seconds;

use super::clock::{now, steady};

/// The result of a read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) page: Result<Vec<EngineTotals>, VllmError>,
    pub(super) took: Seconds,
}

/// One server, with the read in progress.
#[derive(Debug)]
pub(super) struct ServerReader {
    vllm: VllmSource,
    under_way: Option<JoinHandle<(VllmSource, Read)>>,
    /// Duration of the last read.
    took: Seconds,
}

impl ServerReader {
    pub(super) const fn new(vllm: VllmSource) -> Self {
        Self {
            vllm,
            under_way: None,
            took: Seconds::ZERO,
        }
    }

    pub(super) const fn vllm(&self) -> &VllmSource {
        &self.vllm
    }

    /// Requests the page. A page that missed the previous tick is returned first; one that takes longer than `patience` is returned in the
    /// next tick, and a server that was late last time is not waited for at all.
    pub(super) async fn read(&mut self, patience: Option<Duration>) -> Vec<Read> {
        let mut arrived = Vec::with_capacity(1);
        if self.under_way.as_ref().is_some_and(JoinHandle::is_finished) {
            arrived.extend(self.arrival(None).await);
        }
        let was_late = |patience: Duration| self.took.0 > patience.as_secs_f64();
        let patience = patience.map(|patience| {
            if was_late(patience) {
                Duration::ZERO
            } else {
                patience
            }
        });
        arrived.extend(self.arrival(patience).await);
        arrived
    }

    /// The result of the read in progress, or of a new one; `None` if that takes longer than `patience`.
    async fn arrival(&mut self, patience: Option<Duration>) -> Option<Read> {
        let under_way = self.under_way.get_or_insert_with(|| {
            let mut vllm = self.vllm.clone();
            tokio::spawn(async move {
                let started = steady();
                let page = vllm.read(now).await;
                let took = steady() - started;
                (vllm, Read { page, took })
            })
        });
        let read = match patience {
            Some(patience) => timeout(patience, under_way).await.ok()?,
            None => under_way.await,
        };
        self.under_way = None;
        // Cancelled only at the end of the program, when the result is no longer needed.
        let (vllm, read) = read
            .map_err(|error| error.try_into_panic().map(std::panic::resume_unwind))
            .ok()?;
        self.vllm = vllm;
        self.took = read.took;
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Address, RequestOptions};
    use std::net::TcpListener;

    #[tokio::test(start_paused = true)]
    async fn a_page_that_does_not_come_is_waited_for_aside() {
        // It accepts connections, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let options = RequestOptions {
            limit: Duration::from_secs(900),
            ..RequestOptions::default()
        };
        let vllm = VllmSource::new(&Address::from(url), &options).unwrap();
        let mut reader = ServerReader::new(vllm);
        let patience = Some(Duration::from_millis(250));
        for _ in 0..2 {
            assert!(reader.read(patience).await.is_empty());
        }
        let late = reader.read(None).await;
        let reasons: Vec<_> = late
            .into_iter()
            .map(|read| read.page.map_err(|error| error.reason()))
            .collect();
        assert!(matches!(reasons[..], [Err("timeout")]), "{reasons:?}");
    }
}
