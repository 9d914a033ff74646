//! Starting a vLLM of our own and ending it again, with everything that it starts itself.
//!
//! The command line runs under a supervisor, in a process group of its own: a Ctrl-C at the terminal reaches us and not it. The
//! supervisor ends with everything that it started when the pipe that we hold is closed: by [`Launched::end`], when [`Launched`] is
//! dropped, or when we are gone, whatever happened.

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

/// How often the server is asked whether it is ready, and its supervisor whether it is gone.
const POLL: Duration = Duration::from_millis(200);
/// One such question takes no longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The supervisor kills what does not end within 30 s, so that nothing takes longer.
const TERMINATION_GRACE: Duration = Duration::from_secs(40);
/// Lines of its log that an error shows.
const TAIL: usize = 20;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Somebody else is there already.
    #[error(
        "something answers at {url} already, and would be measured instead of what --launch starts; stop it, or give --vllm-url and the launched server another port"
    )]
    Occupied {
        /// Where.
        url: Url,
    },
    /// The system does not start it.
    #[error("cannot start `{line}`: {cause}")]
    Start {
        /// The command line.
        line: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("`{line}` ended ({status}) before {url}health answered; its last words:\n{tail}")]
    Ended {
        /// The command line.
        line: String,
        /// How it ended.
        status: String,
        /// Where it should have answered.
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
        /// Where it should have answered.
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
    /// Closed, it tells the supervisor to end.
    lifeline: Option<ChildStdin>,
    tail: Arc<Mutex<Tail>>,
}

impl Launched {
    /// Has `supervisor` run `line`, a server at `url` that `http` reaches; its output goes to the file `log` where one is given. It is
    /// not ready yet.
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

    /// How the command line ended, if it has with all that it started; what went into the background is still running.
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

    /// Ends the server, and waits until everything it started is gone.
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

/// Reads the log to its end: a pipe that nobody reads would stop the server.
fn follow(output: PipeReader, mut copy: Option<std::fs::File>, tail: &Mutex<Tail>) {
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(file) = &mut copy {
            // A full disk must not stop the server; the tail is kept all the same.
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
    // Only a URL that takes neither refuses them.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown
}

/// The status of `/health`; `None` where nobody answers.
async fn health(http: &reqwest::Client, url: &Url) -> Result<Option<u16>, LaunchError> {
    let page = url
        .join("health")
        .map_err(|error| LaunchError::Client(error.to_string()))?;
    let answer = http.get(page).timeout(PATIENCE).send().await;
    Ok(answer.ok().map(|response| response.status().as_u16()))
}
