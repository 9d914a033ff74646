//! Real Prometheus and Alertmanager processes, stopped with their test.

#![allow(clippy::disallowed_methods, reason = "tests wait by the clock")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::reserved_port::ReservedPort;
use crate::support::get;

/// A program that serves HTTP.
pub(crate) struct Server {
    child: Child,
    port: ReservedPort,
}

impl Server {
    /// Starts `program`, whose flag `listen` sets its address.
    pub(crate) fn start(program: &str, listen: &str, arguments: &[String]) -> Self {
        let port = ReservedPort::new();
        let address = port.address();
        let child = Command::new(program)
            .args(arguments)
            .arg(format!("{listen}={address}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let server = Self { child, port };
        wait_until(30, &format!("{program} is ready"), || {
            TcpStream::connect(address).is_ok() && get(address, "/-/ready").0 == 200
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        self.port.url()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `test` holds; panics with `what` after `seconds`.
#[track_caller]
pub(crate) fn wait_until(seconds: u64, what: &str, mut test: impl FnMut() -> bool) {
    let started = Instant::now();
    while !test() {
        assert!(
            started.elapsed() < Duration::from_secs(seconds),
            "not within {seconds} s: {what}"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A server with Prometheus's query API.
pub(crate) trait QueryApi {
    /// Its address.
    fn address(&self) -> SocketAddr;

    /// `GET path` with `parameters`, its `data`.
    fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let pairs: Vec<_> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let (status, body) = get(self.address(), &format!("{path}?{}", pairs.join("&")));
        assert_eq!(status, 200, "{parameters:?}: {body}");
        serde_json::from_str::<Value>(&body).unwrap()["data"].clone()
    }

    /// The current series of `expression`.
    fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.api("/api/v1/query", &[("query", expression)]);
        data["result"].as_array().unwrap().clone()
    }

    /// The series of `expression` between two Unix times.
    fn query_range(&self, expression: &str, start: f64, end: f64, step: f64) -> Vec<Value> {
        let data = self.api(
            "/api/v1/query_range",
            &[
                ("query", expression),
                ("start", &start.to_string()),
                ("end", &end.to_string()),
                ("step", &step.to_string()),
            ],
        );
        data["result"].as_array().unwrap().clone()
    }
}

impl QueryApi for Server {
    fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

/// A Prometheus with its own configuration and database.
pub(crate) struct Prometheus {
    server: Server,
    directory: TempDir,
}

impl Prometheus {
    /// Starts one with `config`, on the database in `directory`.
    pub(crate) fn start(config: &str, directory: TempDir) -> Self {
        let file = directory.path().join("prometheus.yaml");
        std::fs::write(&file, config).unwrap();
        let arguments = [
            // The first alerts may be sent before the Alertmanager is discovered.
            "--rules.alert.resend-delay=2s".to_owned(),
            format!("--config.file={}", file.display()),
            format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ),
        ];
        Self {
            server: Server::start("prometheus", "--web.listen-address", &arguments),
            directory,
        }
    }

    /// Stops it cleanly, and returns its database.
    pub(crate) fn stop(self) -> TempDir {
        let Self {
            mut server,
            directory,
        } = self;
        let pid = server.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        server.child.wait().unwrap();
        directory
    }

    /// The directory of its database.
    pub(crate) fn database(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

impl QueryApi for Prometheus {
    fn address(&self) -> SocketAddr {
        self.server.port.address()
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// An Alertmanager with the shipped configuration.
pub(crate) struct Alertmanager {
    server: Server,
    _directory: TempDir,
}

impl Alertmanager {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments = [
            "--config.file=deploy/compose/alertmanager.yaml".to_owned(),
            format!("--storage.path={}", directory.path().display()),
            "--cluster.listen-address=".to_owned(),
        ];
        Self {
            server: Server::start(
                "prometheus-alertmanager",
                "--web.listen-address",
                &arguments,
            ),
            _directory: directory,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.port.address()
    }

    /// Sends it `alerts`, as Prometheus does.
    pub(crate) fn post(&self, alerts: &Value) {
        let (address, body) = (self.server.port.address(), alerts.to_string());
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST /api/v2/alerts HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
    }

    /// The receivers of the alert `name`.
    pub(crate) fn receivers(&self, name: &str) -> Vec<String> {
        let alerts = self.alerts();
        let alert = alerts
            .iter()
            .find(|alert| alert["labels"]["alertname"] == name)
            .unwrap();
        let receivers = alert["receivers"].as_array().unwrap().iter();
        receivers
            .map(|receiver| receiver["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The alerts it holds.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let (_, body) = get(self.server.port.address(), "/api/v2/alerts");
        serde_json::from_str(&body).unwrap_or_default()
    }
}

/// The configuration of the local stack, with absolute paths of the rules and with its addresses replaced.
pub(crate) fn config(addresses: &[(&str, String)]) -> String {
    let shipped = std::fs::read_to_string("deploy/compose/prometheus.yaml").unwrap();
    let rules = std::fs::canonicalize("deploy/prometheus").unwrap();
    let found = shipped.replace("../prometheus", rules.to_str().unwrap());
    addresses.iter().fold(found, |config, (shipped, address)| {
        assert!(config.contains(shipped), "the local stack has no {shipped}");
        config.replace(shipped, address)
    })
}

/// Every number in the answer `series`.
pub(crate) fn values(series: &[Value]) -> Vec<f64> {
    let points = series.iter().flat_map(|series| match &series["values"] {
        Value::Array(points) => points.clone(),
        _ => vec![series["value"].clone()],
    });
    points
        .filter_map(|point| point[1].as_str()?.parse().ok())
        .collect()
}
