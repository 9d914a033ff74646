//! Requests to the servers that the exporter reads: the token goes only to the configured server, over verified TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Exporter, ok, value};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PAGE: &str = "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 0.0\n";

/// A server that gives every request the same answer and keeps the requests. It ends with the test program.
struct Listening {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Listening {
    fn with(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 16 << 10];
                let length = stream.read(&mut request).unwrap_or(0);
                kept.lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&request[..length]).into_owned());
                let _ = stream.write_all(&answer);
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until a request contains all of `words`.
    #[track_caller]
    fn wait_for(&self, words: &[&str]) {
        #[expect(clippy::disallowed_methods, reason = "tests wait by the clock")]
        let started = Instant::now();
        while !self
            .asked()
            .iter()
            .any(|request| words.iter().all(|word| request.contains(word)))
        {
            assert!(
                started.elapsed() < Duration::from_secs(15),
                "no request has {words:?}: {:?}",
                self.asked()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn written(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let file = directory.path().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn serve(url: &str, more: &[&str]) -> Exporter {
    Exporter::start(&[&["serve", "--gpu-source", "none", "--vllm-url", url], more].concat())
}

#[test]
fn the_token_goes_to_every_page_of_vllm_and_a_rotated_one_is_sent_at_once() {
    let directory = TempDir::new().unwrap();
    let key = written(&directory, "key", "sk-first\n");
    let vllm = Listening::with(ok(PAGE));
    let url = format!("http://{}", vllm.address);
    let exporter = serve(
        &url,
        &[
            "--vllm-api-key-file",
            key.to_str().unwrap(),
            "--log.level",
            "trace",
        ],
    );
    vllm.wait_for(&["GET /metrics HTTP", "authorization: Bearer sk-first\r\n"]);
    vllm.wait_for(&["GET /v1/models HTTP", "authorization: Bearer sk-first\r\n"]);
    std::fs::write(&key, "sk-second\n").unwrap();
    vllm.wait_for(&["GET /metrics", "authorization: Bearer sk-second\r\n"]);
    std::fs::write(&key, "\n").unwrap();
    let failed = "source=\"vllm\",reason=\"configuration\"";
    exporter.wait_for("/metrics", 10, |page| {
        value(page, "vllm_roofline_source_errors_total", failed).is_some_and(|count| count > 0.0)
    });
    let log = exporter.log();
    assert!(
        log.contains("vllm-api-key-file") && log.contains("empty"),
        "{log}"
    );
    let shown = [
        log,
        exporter.get("/").1,
        exporter.get("/api/v1/config").1,
        exporter.get("/api/v1/snapshot").1,
    ];
    assert!(
        shown
            .iter()
            .all(|text| !text.contains("sk-first") && !text.contains("sk-second"))
    );
}

#[test]
fn a_redirect_to_another_host_is_not_followed_and_gets_no_token() {
    let directory = TempDir::new().unwrap();
    let key = written(&directory, "key", "sk-first");
    let other = Listening::with(ok(PAGE));
    let elsewhere = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/metrics\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        other.address
    );
    let vllm = Listening::with(elsewhere.into_bytes());
    let exporter = serve(
        &format!("http://{}", vllm.address),
        &["--vllm-api-key-file", key.to_str().unwrap()],
    );
    let redirected = "source=\"vllm\",reason=\"redirect\"";
    exporter.wait_for("/metrics", 10, |page| {
        value(page, "vllm_roofline_source_errors_total", redirected)
            .is_some_and(|count| count > 1.0)
    });
    assert!(exporter.log().contains("redirects to another host"));
    assert_eq!(other.asked(), Vec::<String>::new());
}

#[test]
fn a_password_in_a_url_is_used_and_shown_nowhere() {
    let vllm = Listening::with(ok(PAGE));
    let url = format!("http://reader:hunter2@{}", vllm.address);
    let exporter = serve(&url, &["--log.level", "trace"]);
    vllm.wait_for(&[
        "GET /metrics",
        "authorization: Basic cmVhZGVyOmh1bnRlcjI=\r\n",
    ]);
    exporter.wait_for("/metrics", 10, |page| {
        value(page, "vllm_roofline_up", "") == Some(1.0)
    });
    let config = exporter.get("/api/v1/config").1;
    assert!(config.contains("http://reader:<secret>@"), "{config}");
    for (place, text) in [
        ("log", exporter.log()),
        ("page", exporter.get("/").1),
        ("snapshot", exporter.get("/api/v1/snapshot").1),
        ("metrics", exporter.get("/metrics").1),
        ("config", config),
    ] {
        assert!(!text.contains("hunter2"), "the {place} shows it: {text}");
    }
}

/// A vLLM behind TLS with a certificate that no system CA signed; returns its URL.
async fn over_tls(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let key = rustls::pki_types::PrivateKeyDer::try_from(certificate.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key.unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that trusts another CA disconnects.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 16 << 10]).await;
            let _ = stream.write_all(&ok(PAGE)).await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

fn reads(exporter: &Exporter, reason: Option<&str>) {
    exporter.wait_for("/metrics", 10, |page| match reason {
        None => value(page, "vllm_roofline_up", "") == Some(1.0),
        Some(reason) => {
            let labels = format!("source=\"vllm\",reason=\"{reason}\"");
            value(page, "vllm_roofline_source_errors_total", &labels)
                .is_some_and(|count| count > 0.0)
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_checked_and_an_own_ca_is_trusted_as_a_reload_says() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let url = over_tls(&made).await;
    let directory = TempDir::new().unwrap();
    let file = |name: &str, text: String| written(&directory, name, &text);
    let ca = file("ca.pem", other.cert.pem());
    let tested = tokio::task::spawn_blocking(move || {
        reads(&serve(&url, &[]), Some("connect"));
        let exporter = serve(&url, &["--vllm-ca-file", path(&ca)]);
        reads(&exporter, Some("connect"));
        std::fs::write(&ca, made.cert.pem()).unwrap();
        exporter.hangup();
        reads(&exporter, None);
    });
    tested.await.unwrap();
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}
