//! Hostile clients on our own port: memory stays bounded, vLLM is still read, and other clients are served as soon as possible.

#![allow(clippy::disallowed_methods, reason = "tests wait by the clock")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::serve;
use crate::support::Exporter;
use crate::vllm::Vllm;

/// The maximum number of connections, and a few more files.
const MOST_FILES: usize = 256 + 64 + 24;
/// Memory limit of these tests, in KiB.
const MOST_MEMORY: u64 = 24 << 10;
/// Longer than any delay of the exporter.
const PATIENCE: Duration = Duration::from_secs(40);

fn connect(exporter: &Exporter) -> TcpStream {
    let stream = TcpStream::connect(exporter.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Waits until `test` holds.
#[track_caller]
fn wait_until(what: &str, mut test: impl FnMut() -> bool) {
    let started = Instant::now();
    while !test() {
        assert!(
            started.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Everything received until the connection closes.
#[track_caller]
fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => all.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }
    String::from_utf8(all).unwrap()
}

/// Whether the exporter answers a well-behaved client.
fn answers(exporter: &Exporter) -> bool {
    let mut stream = connect(exporter);
    // A closed connection may be gone before the request is sent.
    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    rest(&mut stream).starts_with("HTTP/1.1 200 OK\r\n")
}

#[test]
fn ten_thousand_connections_cost_little_and_pass() {
    const CONNECTIONS: usize = 10_000;
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    wait_until("an answer", || answers(&exporter));
    let (before, _) = exporter.memory();
    let mut connections = Vec::with_capacity(CONNECTIONS);
    let mut most_files = 0;
    for _ in 0..CONNECTIONS {
        let mut stream = connect(&exporter);
        // Connections that are closed at once do not receive it.
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: ");
        connections.push(stream);
        most_files = most_files.max(exporter.open_files());
    }
    assert!(most_files <= MOST_FILES, "{most_files} open files");
    let read = vllm.requests();
    wait_until("vLLM is read on", || vllm.requests() > read + 2);
    let (_, most) = exporter.memory();
    assert!(
        most - before < MOST_MEMORY,
        "{before} KiB before, {most} KiB at most"
    );
    let logged = exporter.log().matches("connections are open").count();
    assert!((1..20).contains(&logged), "logged {logged} times");

    drop(connections);
    wait_until("an answer", || answers(&exporter));
    assert!(
        !exporter.log().contains("source is down"),
        "{}",
        exporter.log()
    );
}

/// The maximum number of connections, each with an occasional request: a probe and a scraper still get in.
#[test]
fn connections_that_are_kept_alive_do_not_lock_out_probes() {
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    wait_until("an answer", || answers(&exporter));
    let question = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = Vec::new();
    for _ in 0..300 {
        let mut stream = connect(&exporter);
        let _ = stream.write_all(question);
        kept.push(stream);
    }
    for _ in 0..30 {
        let (status, _) = exporter.get("/-/healthy");
        assert_eq!(status, 200);
        let mut again = connect(&exporter);
        let _ = again.write_all(question);
        kept.push(again);
    }
    assert!(answers(&exporter));
}

/// Neither a silent client nor an endless request keeps a slot for long.
#[test]
fn whoever_does_not_ask_is_cut_off() {
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    let mut silent = connect(&exporter);
    let mut slow = connect(&exporter);
    let dripping = std::thread::spawn(move || {
        let started = Instant::now();
        while slow.write_all(b"G").is_ok() {
            assert!(
                started.elapsed() < PATIENCE,
                "a question without an end is listened to"
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    assert_eq!(rest(&mut silent), "");
    dripping.join().unwrap();
    assert!(answers(&exporter));
}

/// The kernel's view of connections to the exporter: how many are open, and the bytes that wait for their clients.
fn connections(exporter: &Exporter) -> (usize, usize) {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", exporter.address.port());
    let ours = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let ours = words.next()?.ends_with(&port);
        let (state, queues) = (words.nth(1)?, words.next()?);
        let (waiting, _) = queues.split_once(':')?;
        let waiting = usize::from_str_radix(waiting, 16).ok()?;
        (ours && state == ESTABLISHED).then_some(waiting)
    });
    ours.fold((0, 0), |(count, all), waiting| (count + 1, all + waiting))
}

/// Clients that request page after page and read none.
#[test]
fn slow_readers_lose_their_place() {
    const READERS: usize = 20;
    /// Kernel memory of one such client: a send buffer, which the kernel doubles, plus overhead.
    const MOST_WAITING: usize = 256 << 10;
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    wait_until("an answer", || answers(&exporter));
    let (before, _) = exporter.memory();
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5000);
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut stream = connect(&exporter);
            stream.set_nonblocking(true).unwrap();
            // As much as the kernel accepts.
            let _ = stream.write(request.as_bytes());
            stream
        })
        .collect();
    assert!(answers(&exporter), "others are served meanwhile");
    wait_until("they have lost their places", || {
        let (open, waiting) = connections(&exporter);
        assert!(waiting < READERS * MOST_WAITING, "{waiting} bytes wait");
        open == 0
    });
    let (_, most) = exporter.memory();
    assert!(
        most - before < MOST_MEMORY,
        "{before} KiB before, {most} KiB at most"
    );
    drop(readers);
}

/// Ambiguous ends of a request: headers, and the body that some servers would see.
const AMBIGUOUS: [(&str, &str); 15] = [
    (
        "Content-Length: 44\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "0\r\n\r\n",
    ),
    ("Content-Length: 0\r\nContent-Length: 44", ""),
    ("Content-Length: 0, 44", ""),
    ("Content-Length: +44", ""),
    ("Content-Length: -1", ""),
    ("Content-Length: 99999999999999999999", ""),
    ("Content-Length: 44", ""),
    ("Transfer-Encoding: chunked", "zz\r\n\r\n"),
    ("Transfer-Encoding: chunked", "fffffffffffffffff\r\n"),
    ("Transfer-Encoding: xchunked", ""),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "0\r\n\r\n",
    ),
    ("Transfer-Encoding : chunked", "0\r\n\r\n"),
    ("X: a\r\n Transfer-Encoding: chunked", "0\r\n\r\n"),
    ("X: a\rTransfer-Encoding: chunked", "0\r\n\r\n"),
];

#[test]
fn smuggled_requests_are_refused_with_their_connection() {
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    wait_until("an answer", || answers(&exporter));
    let smuggled = "GET /-/healthy HTTP/1.1\r\nHost: a.example\r\n\r\n";
    for (head, body) in AMBIGUOUS {
        for method in ["GET", "POST"] {
            let mut stream = connect(&exporter);
            let request =
                format!("{method} /metrics HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{body}{smuggled}");
            stream.write_all(request.as_bytes()).unwrap();
            let answer = rest(&mut stream);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head}: {answer}");
        }
    }
    assert!(answers(&exporter));
}

#[test]
fn oversized_heads_are_refused() {
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    wait_until("an answer", || answers(&exporter));
    let (before, _) = exporter.memory();
    let long = "a".repeat(1 << 20);
    for (name, head) in [
        (
            "a long header",
            format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        ),
        (
            "many headers",
            format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(200)),
        ),
        (
            "a long path",
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
        (
            "a long query",
            format!("GET /metrics?{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
    ] {
        let mut stream = connect(&exporter);
        // It disconnects in the middle.
        let _ = stream.write_all(head.as_bytes());
        let answer = rest(&mut stream);
        let refused = ["HTTP/1.1 431 ", "HTTP/1.1 414 "];
        let refused_cleanly = refused.iter().any(|status| answer.starts_with(status));
        assert!(refused_cleanly || answer.is_empty(), "{name}: {answer}");
    }
    let (_, most) = exporter.memory();
    assert!(
        most - before < MOST_MEMORY,
        "{before} KiB before, {most} KiB at most"
    );
    assert!(answers(&exporter));
}
