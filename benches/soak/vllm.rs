//! A vLLM that plays recordings, with one fault after the other.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::lives::Life;

/// The faults, in turn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Fault {
    ClosesAtOnce,
    HangsAfterItsHeaders,
    Drips,
    ResetsInTheBody,
    Fails,
    CutsALine,
    IsNoText,
    SendsAGzipBomb,
    SendsALabelBomb,
    HasNoEngine,
    HasTooManyEngines,
    HasTooManySeries,
}

pub(crate) const FAULTS: [Fault; 12] = [
    Fault::ClosesAtOnce,
    Fault::HangsAfterItsHeaders,
    Fault::Drips,
    Fault::ResetsInTheBody,
    Fault::Fails,
    Fault::CutsALine,
    Fault::IsNoText,
    Fault::SendsAGzipBomb,
    Fault::SendsALabelBomb,
    Fault::HasNoEngine,
    Fault::HasTooManyEngines,
    Fault::HasTooManySeries,
];

/// Duration of a fault, and of the time without a fault after it: several ticks each.
const SPELL: Duration = Duration::from_millis(700);
/// Larger than the page limit.
const BOMB: usize = 64 << 20;

/// Its current state.
struct State {
    life: Arc<Life>,
    /// Number of runs so far.
    births: usize,
    /// Position in the recording, in seconds.
    recorded: f64,
    fault: Option<Fault>,
    /// Number of periods so far: each odd one has a fault.
    spells: usize,
    done: BTreeMap<Fault, usize>,
}

pub(crate) struct Vllm {
    url: String,
    state: Arc<Mutex<State>>,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Vllm {
    pub(crate) async fn listen(first: &Arc<Life>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State {
            life: Arc::clone(first),
            births: 0,
            recorded: 0.0,
            fault: None,
            spells: 0,
            done: BTreeMap::new(),
        }));
        let shared = Arc::clone(&state);
        let bomb = Arc::new(bomb()?);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, bomb) = (Arc::clone(&shared), Arc::clone(&bomb));
                // A client that disconnects gets no more.
                tokio::spawn(async move { answer(stream, &state, &bomb).await });
            }
        });
        Ok(Self { url, state })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Starts another process with another recording; its page is constant at first.
    pub(crate) fn start(&self, life: &Arc<Life>) {
        let mut state = locked(&self.state);
        state.life = Arc::clone(life);
        state.births += 1;
        state.recorded = 0.0;
        state.fault = None;
    }

    pub(crate) fn play(&self, recorded: f64) {
        locked(&self.state).recorded = recorded;
    }

    pub(crate) fn stand_still(&self, recorded: f64) {
        let mut state = locked(&self.state);
        state.recorded = recorded;
        state.fault = None;
    }

    /// The fault, if any, at this time after the start of a run.
    pub(crate) fn fail_in_turn(&self, elapsed: Duration) {
        let mut state = locked(&self.state);
        let odd = elapsed.div_duration_f64(SPELL) % 2.0 >= 1.0;
        if odd == state.fault.is_some() {
            return;
        }
        state.fault = odd.then(|| FAULTS[state.spells % FAULTS.len()]);
        if let Some(fault) = state.fault {
            state.spells += 1;
            *state.done.entry(fault).or_default() += 1;
        }
    }

    pub(crate) fn faults_done(&self) -> BTreeMap<Fault, usize> {
        locked(&self.state).done.clone()
    }
}

fn bomb() -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&vec![b'a'; BOMB])?;
    encoder.finish()
}

fn head(encoding: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n{encoding}Content-Length: {length}\r\nConnection: close\r\n\r\n").into_bytes()
}

async fn answer(mut stream: TcpStream, state: &Mutex<State>, bomb: &[u8]) -> std::io::Result<()> {
    let (life, births, recorded, fault) = {
        let state = locked(state);
        (
            Arc::clone(&state.life),
            state.births,
            state.recorded,
            state.fault,
        )
    };
    if fault == Some(Fault::ClosesAtOnce) {
        return Ok(());
    }
    let mut request = [0; 16 << 10];
    let length = stream.read(&mut request).await?;
    let page = if request[..length].starts_with(b"GET /v1/models") {
        life.models()
    } else {
        life.page(recorded, births)
    };
    fail(&mut stream, fault, page, bomb).await
}

/// Answers with `page`, modified by `fault`.
async fn fail(
    stream: &mut TcpStream,
    fault: Option<Fault>,
    page: String,
    bomb: &[u8],
) -> std::io::Result<()> {
    let many = |line: fn(usize) -> String, count: usize| (0..count).map(line).collect::<String>();
    let page = match fault {
        Some(Fault::Fails) => {
            let failed = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return stream.write_all(failed).await;
        }
        Some(Fault::HangsAfterItsHeaders) => {
            stream.write_all(&head("", page.len())).await?;
            sleep(SPELL).await;
            return Ok(());
        }
        Some(Fault::Drips) => {
            stream.write_all(&head("", page.len())).await?;
            for byte in page.bytes().take(3) {
                stream.write_all(&[byte]).await?;
                sleep(SPELL / 3).await;
            }
            return Ok(());
        }
        Some(Fault::ResetsInTheBody) => {
            stream.write_all(&head("", page.len())).await?;
            stream.write_all(&page.as_bytes()[..page.len() / 2]).await?;
            stream.set_zero_linger()?;
            return Ok(());
        }
        Some(Fault::SendsAGzipBomb) => {
            stream
                .write_all(&head("Content-Encoding: gzip\r\n", bomb.len()))
                .await?;
            return stream.write_all(bomb).await;
        }
        Some(Fault::CutsALine) => page + "vllm:num_requests_running{engine=\"0",
        Some(Fault::IsNoText) => {
            return reply(stream, &[page.as_bytes(), b"\xff\n"].concat()).await;
        }
        Some(Fault::SendsALabelBomb) => {
            let bomb = "a".repeat(48 << 10);
            format!("vllm:num_requests_running{{model_name=\"{bomb}\",engine=\"{bomb}\"}} 1.0\n")
        }
        Some(Fault::HasNoEngine) => "vllm:healthy_pods_total{server=\"a\"} 1.0\n".to_owned(),
        Some(Fault::HasTooManyEngines) => {
            page + &many(
                |number| format!("vllm:num_requests_running{{engine=\"n{number}\"}} 1.0\n"),
                5000,
            )
        }
        Some(Fault::HasTooManySeries) => {
            page + &many(|number| format!("vllm:a{{b=\"{number}\"}} 1\n"), 300_000)
        }
        Some(Fault::ClosesAtOnce) | None => page,
    };
    reply(stream, page.as_bytes()).await
}

async fn reply(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(&head("", body.len())).await?;
    stream.write_all(body).await
}
