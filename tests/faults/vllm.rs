//! A vLLM server whose behaviour per connection a test defines, and can change at any time.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::ok;

type Behaviour = Arc<dyn Fn(&Vllm, TcpStream) + Send + Sync>;

/// One vLLM; clones share its state.
#[derive(Clone)]
pub(crate) struct Vllm {
    pub(crate) url: String,
    behaviour: Arc<Mutex<Behaviour>>,
    generated: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Vllm {
    /// One that answers with a good page.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let vllm = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            behaviour: Arc::new(Mutex::new(Arc::new(answer_well))),
            generated: Arc::new(AtomicU64::new(1000)),
            requests: Arc::default(),
        };
        let served = vllm.clone();
        // Ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let vllm = served.clone();
                vllm.requests.fetch_add(1, Ordering::Relaxed);
                let behaviour = Arc::clone(&vllm.behaviour.lock().unwrap());
                std::thread::spawn(move || behaviour(&vllm, stream));
            }
        });
        vllm
    }

    /// Sets the behaviour for each connection from now on.
    pub(crate) fn behave(&self, behaviour: impl Fn(&Self, TcpStream) + Send + Sync + 'static) {
        *self.behaviour.lock().unwrap() = Arc::new(behaviour);
    }

    /// Answers with `page` from now on.
    pub(crate) fn answer(&self, page: impl Into<Vec<u8>>) {
        let page = page.into();
        self.behave(move |_, mut stream| {
            request(&mut stream);
            let _ = stream.write_all(&page);
        });
    }

    /// Answers normally from now on, with this many tokens generated so far.
    pub(crate) fn generate(&self, tokens: u64) {
        self.generated.store(tokens, Ordering::Relaxed);
        self.behave(answer_well);
    }

    /// The page of its normal answer.
    pub(crate) fn page(&self) -> String {
        let generated = self.generated.load(Ordering::Relaxed);
        format!(
            "process_start_time_seconds 1.0\n{}",
            engine("m", "0", generated)
        )
    }

    /// Connections so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

fn answer_well(vllm: &Vllm, mut stream: TcpStream) {
    request(&mut stream);
    // The exporter may have disconnected.
    let _ = stream.write_all(&ok(&vllm.page()));
}

/// The series of one engine.
pub(crate) fn engine(model: &str, engine: &str, generated: u64) -> String {
    let labels = format!("{{engine=\"{engine}\",model_name=\"{model}\"}}");
    format!(
        "vllm:num_requests_running{labels} 1.0\nvllm:num_requests_waiting{labels} 0.0\nvllm:generation_tokens_total{labels} {generated}.0\n"
    )
}

/// Reads a request, and returns its first line.
pub(crate) fn request(stream: &mut TcpStream) -> String {
    let mut request = [0; 16 << 10];
    let length = stream.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..length]);
    request.lines().next().unwrap_or_default().to_owned()
}
