//! vLLM's page read aside: one that does not come holds up nobody but its own engines.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::sample::engine::EngineTotals;
use crate::source::vllm::{VllmError, VllmSource};
use roofline::units::Seconds;

use super::clock::{now, steady};

/// What a read brought.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) page: Result<Vec<EngineTotals>, VllmError>,
    pub(super) took: Seconds,
}

/// One server, and the read of it that is under way.
#[derive(Debug)]
pub(super) struct ServerReader {
    vllm: VllmSource,
    under_way: Option<JoinHandle<(VllmSource, Read)>>,
    /// How long the last read took.
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

    /// Asks for the page. What came late for the tick before comes first; what is not here within `patience` comes with the next tick,
    /// and a server that was late last time is not waited for at all.
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

    /// What the read under way brings, or a new one where there is none; nothing where that takes longer than `patience`.
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
        // Cancelled it is at the end of the program only, where nobody waits any more.
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
        // It accepts, and never answers.
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
