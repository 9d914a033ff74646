//! A running exporter, and the servers that it reads.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "tests wait by the clock")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The exporter as a process, ended with the test.
pub(crate) struct Exporter {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) vllm: Option<String>,
    log: Arc<Mutex<String>>,
}

impl Exporter {
    /// Starts the exporter with `arguments` on a free port and waits until it serves.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(&[], arguments)
    }

    /// The same with more `environment`.
    pub(crate) fn start_in(environment: &[(&str, String)], arguments: &[&str]) -> Self {
        let tick: &[&str] = if arguments.contains(&"--tick") {
            &[]
        } else {
            &["--tick", "500ms"]
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
            .args(arguments)
            .args(["--web.listen-address", "127.0.0.1:0"])
            .args(tick)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut vllm = None;
        let log = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let line = lines.next().expect("the exporter ended").unwrap();
            log.lock().unwrap().extend([line.as_str(), "\n"]);
            if let Some((_, url)) = line.split_once("recorded vLLM at ") {
                vllm = Some(url.trim_end_matches("/metrics").to_owned());
            }
            if let Some((_, url)) = line.split_once("serving on ") {
                let (_, rest) = url.split_once("://").unwrap();
                break rest.split(' ').next().unwrap().parse().unwrap();
            }
        };
        // Keeps the pipe open and empty.
        let rest = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                rest.lock().unwrap().extend([line.as_str(), "\n"]);
            }
        });
        Self {
            child,
            address,
            vllm,
            log,
        }
    }

    /// Current and maximum memory, in KiB.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap()
                .trim()
                .trim_end_matches(" kB")
                .parse()
                .unwrap()
        };
        (kib("VmRSS:"), kib("VmHWM:"))
    }

    /// How many files and connections it has open.
    pub(crate) fn open_files(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        files.unwrap().count()
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        threads.unwrap().count()
    }

    /// Sends it the signal `name`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until its log contains `words`.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, words: &str) {
        let started = Instant::now();
        while !self.log().contains(words) {
            let waited = started.elapsed() < Duration::from_secs(20);
            assert!(waited, "no {words:?} in: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path)
    }

    /// Waits until the page at `path` passes `test`, and returns it.
    #[track_caller]
    pub(crate) fn wait_for(&self, path: &str, seconds: u64, test: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let (_, page) = self.get(path);
            if test(&page) {
                return page;
            }
            assert!(
                started.elapsed() < Duration::from_secs(seconds),
                "not within {seconds} s:\n{page}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes the exporter reload its configuration.
    pub(crate) fn hangup(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Stops the exporter as Kubernetes does, and returns its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `GET path`, as status and body.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    (
        status,
        if chunked {
            unchunked(body)
        } else {
            body.to_owned()
        },
    )
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&after[..size]);
        if size == 0 {
            break;
        }
        rest = &after[size + 2..];
    }
    body
}

/// A server that answers every request with the same bytes, which can be changed. It ends with the value.
pub(crate) struct Answering {
    pub(crate) url: String,
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Answering {
    pub(crate) fn with(answer: impl Into<Vec<u8>>) -> Self {
        Self::at("127.0.0.1:0", answer)
    }

    /// The same at a given address.
    pub(crate) fn at(address: impl ToSocketAddrs, answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer.into()));
        let ended = Arc::new(AtomicBool::new(false));
        let (shared, end) = (Arc::clone(&answer), Arc::clone(&ended));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                let answer = shared.lock().unwrap().clone();
                std::thread::spawn(move || serve(stream, &answer));
            }
        });
        Self {
            url: format!("http://{address}"),
            address,
            answer,
            ended,
            accepting: Some(accepting),
        }
    }

    pub(crate) fn answer(&self, answer: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = answer.into();
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // One more connection, to wake it.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    let mut request = [0; 16 << 10];
    let _ = stream.read(&mut request);
    let _ = stream.write_all(answer);
}

/// A 200 answer with `body`.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// The value of the series `name` with `labels` somewhere in its labels.
pub(crate) fn value(page: &str, name: &str, labels: &str) -> Option<f64> {
    let line = page.lines().find(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}
