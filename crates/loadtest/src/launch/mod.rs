//! Starts a vLLM of our own and stops it, with every process that it starts.
//!
//! The command line runs under a supervisor, in its own process group: Ctrl-C at the terminal reaches us and not the server. The supervisor
//! stops everything that it started when the pipe that we hold closes: by [`Launched::end`], when [`Launched`] is dropped, or when our
//! process ends for any reason.

mod secrets;
pub mod template;

use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::time::{Instant, sleep};

use secrets::Secrets;

/// Interval of the readiness check, and of the check on the supervisor.
const POLL: Duration = Duration::from_millis(200);
/// Timeout of one such check.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long we wait for the supervisor, which kills what does not end within 30 s.
const TERMINATION_GRACE: Duration = Duration::from_secs(40);
/// Log lines that an error shows.
const TAIL: usize = 20;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Another server answers at this URL.
    #[error(
        "something answers at {url} already, and would be measured instead of what --launch starts; stop it, or give --vllm-url and the launched server another port"
    )]
    Occupied {
        /// The URL.
        url: Url,
    },
    /// The system cannot start it.
    #[error("cannot start `{line}`: {cause}")]
    Start {
        /// The command line.
        line: String,
        /// The system's error.
        cause: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("`{line}` ended ({status}) before {url}health answered; its last words:\n{tail}")]
    Ended {
        /// The command line.
        line: String,
        /// How it ended.
        status: String,
        /// The URL where it should have answered.
        url: Url,
        /// The end of its log.
        tail: String,
    },
    /// It was not ready in time.
    #[error(
        "`{line}` was not ready within {limit:?}: {url}health does not answer 200; does it serve there? Its last words:\n{tail}"
    )]
    Late {
        /// The command line.
        line: String,
        /// The limit.
        limit: Duration,
        /// The URL where it should have answered.
        url: Url,
        /// The end of its log.
        tail: String,
    },
    /// No HTTP client.
    #[error("{0}")]
    Client(String),
}

/// A server that we started.
#[derive(Debug)]
pub struct Launched {
    /// The command line, without its secrets.
    line: String,
    secrets: Secrets,
    url: Url,
    http: reqwest::Client,
    supervisor: Child,
    /// Closing it makes the supervisor stop the server.
    lifeline: Option<ChildStdin>,
    tail: Arc<Mutex<Tail>>,
}

impl Launched {
    /// Makes `supervisor` run `line`, a server at `url` that `http` reaches; its output goes to the file `log` if given. The server is not
    /// ready yet when this returns.
    ///
    /// # Errors
    /// [`LaunchError::Occupied`] or [`LaunchError::Start`].
    pub async fn start(
        mut supervisor: Command,
        line: &str,
        url: &Url,
        http: &reqwest::Client,
        log: Option<&Path>,
    ) -> Result<Self, LaunchError> {
        if health(http, url).await?.is_some() {
            return Err(LaunchError::Occupied { url: shown(url) });
        }
        let failed = |cause| LaunchError::Start {
            line: Secrets::of(line).masked(line),
            cause,
        };
        let (output, input) = std::io::pipe().map_err(failed)?;
        let copy = log.map(std::fs::File::create).transpose().map_err(failed)?;
        let mut supervisor = supervisor
            .arg(line)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(input.try_clone().map_err(failed)?)
            .stderr(input)
            .spawn()
            .map_err(failed)?;
        let tail = Arc::default();
        let launched = Self {
            line: Secrets::of(line).masked(line),
            secrets: Secrets::of(line),
            url: url.clone(),
            http: http.clone(),
            lifeline: supervisor.stdin.take(),
            supervisor,
            tail: Arc::clone(&tail),
        };
        std::thread::Builder::new()
            .name("server-log".to_owned())
            .spawn(move || follow(output, copy, &tail))
            .map_err(failed)?;
        Ok(launched)
    }

    /// Waits until `/health` answers 200.
    ///
    /// # Errors
    /// [`LaunchError::Ended`] or [`LaunchError::Late`], with the end of the server's log.
    pub async fn ready(&mut self, limit: Duration) -> Result<(), LaunchError> {
        let started = Instant::now();
        loop {
            if health(&self.http, &self.url).await? == Some(200) {
                return Ok(());
            }
            if let Some(status) = self.ended() {
                return Err(LaunchError::Ended {
                    line: self.line.clone(),
                    status,
                    url: shown(&self.url),
                    tail: self.tail(),
                });
            }
            if started.elapsed() > limit {
                return Err(LaunchError::Late {
                    line: self.line.clone(),
                    limit,
                    url: shown(&self.url),
                    tail: self.tail(),
                });
            }
            sleep(POLL).await;
        }
    }

    /// The exit status of the command line, once it and all processes that it started have ended; a background process counts as running.
    fn ended(&mut self) -> Option<String> {
        let status = self.supervisor.try_wait().ok()??;
        Some(status.to_string())
    }

    /// The end of the server's log.
    #[must_use]
    pub fn tail(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        self.secrets.masked(&tail.text())
    }

    /// Stops the server, and waits until every process that it started has ended.
    pub async fn end(mut self) {
        drop(self.lifeline.take());
        let asked = Instant::now();
        while self.ended().is_none() {
            if asked.elapsed() > TERMINATION_GRACE {
                tracing::warn!("the launched server did not end within {TERMINATION_GRACE:?}");
                return;
            }
            sleep(POLL).await;
        }
    }
}

/// The last lines of a log.
#[derive(Debug, Default)]
struct Tail(std::collections::VecDeque<String>);

impl Tail {
    fn push(&mut self, line: String) {
        if self.0.len() == TAIL {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    fn text(&self) -> String {
        let lines: Vec<&str> = self.0.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}

/// Reads the log to its end: an unread pipe would block the server.
fn follow(output: PipeReader, mut copy: Option<std::fs::File>, tail: &Mutex<Tail>) {
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(file) = &mut copy {
            // A full disk must not stop the server; the tail is still kept.
            let _ = writeln!(file, "{line}");
        }
        tail.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}

/// `url` without user and password.
fn shown(url: &Url) -> Url {
    let mut shown = url.clone();
    // Fails only for a URL that can have neither.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown
}

/// The status of `/health`; `None` without an answer.
async fn health(http: &reqwest::Client, url: &Url) -> Result<Option<u16>, LaunchError> {
    let page = url
        .join("health")
        .map_err(|error| LaunchError::Client(error.to_string()))?;
    let answer = http.get(page).timeout(PATIENCE).send().await;
    Ok(answer.ok().map(|response| response.status().as_u16()))
}
