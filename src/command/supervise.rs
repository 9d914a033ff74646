//! `supervise`, used only by `--launch`: runs a shell command, and stops it with every process that it started when the parent ends, for
//! whatever reason.
//!
//! Its standard input is a pipe that the parent holds open: end of file means that the parent ended, even by SIGKILL. It adopts orphans, so
//! that a server that leaves its process group or session is still found among its descendants.

use std::io::{Read, stdin};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::source::discovery::process::descendants;

use super::interrupt::Interrupt;
use super::serve;
use super::usage::Ended;

/// A process that has not ended this long after SIGTERM is killed.
const TERMINATION_GRACE: Duration = Duration::from_secs(30);
/// Poll interval of that time limit.
const POLL: Duration = Duration::from_millis(200);
/// Shells add this to the number of the signal that ended a command.
const BY_SIGNAL: i32 = 128;

/// Arguments of `supervise`.
#[derive(Clone, Debug, clap::Args)]
pub struct SuperviseArgs {
    /// The shell command
    pub line: String,
}

/// The command that runs a shell command under supervision; append the shell command as its last argument.
#[must_use]
pub fn supervisor() -> Command {
    // Found even if the program's file was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(env!("CARGO_PKG_NAME")).arg("supervise");
    command
}

/// Runs the shell command.
///
/// # Errors
/// [`Ended`] with the exit code of the shell; the system's error where there is none.
pub fn run(args: &SuperviseArgs) -> anyhow::Result<()> {
    let code = serve::block_on_this_thread(supervise(&args.line))?;
    if code == 0 {
        Ok(())
    } else {
        Err(Ended(code).into())
    }
}

async fn supervise(line: &str) -> anyhow::Result<u8> {
    set_child_subreaper(Some(getpid())).context("cannot adopt orphans")?;
    // Set up before there are children, so that no exit is missed.
    let mut children = signal(SignalKind::child())?;
    let interrupt = Interrupt::listen();
    let mut orphaned = end_of_parent();
    let shell = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .spawn()?;
    let shell = Pid::from_child(&shell);
    let mut code = None;
    let mut deadline = None;
    while children_live(shell, &mut code)? {
        tokio::select! {
            _ = children.recv() => {}
            () = interrupt.wait(), if deadline.is_none() => deadline = Some(say_farewell()),
            _ = &mut orphaned, if deadline.is_none() => deadline = Some(say_farewell()),
            () = sleep(POLL), if deadline.is_some() => {
                if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                    tell_all(Signal::KILL);
                }
            }
        }
    }
    Ok(code.unwrap_or_default())
}

/// Resolves when the parent is gone, or requests the end.
fn end_of_parent() -> oneshot::Receiver<()> {
    let (signal_end, signalled) = oneshot::channel();
    std::thread::spawn(move || {
        let mut nothing = [0; 64];
        while stdin().read(&mut nothing).is_ok_and(|length| length > 0) {}
        // If the receiver is gone, the end came first.
        let _ = signal_end.send(());
    });
    signalled
}

/// Sends SIGTERM to every descendant, and returns the deadline for SIGKILL.
fn say_farewell() -> Instant {
    tell_all(Signal::TERM);
    Instant::now() + TERMINATION_GRACE
}

fn tell_all(signal: Signal) {
    for process in descendants(std::process::id()) {
        let process = i32::try_from(process).ok().and_then(Pid::from_raw);
        if let Some(process) = process {
            // The process may have ended meanwhile.
            let _ = kill_process(process, signal);
        }
    }
}

/// Reaps the children that ended, and sets `code` when the shell is among them. Returns whether any child is left.
fn children_live(shell: Pid, code: &mut Option<u8>) -> anyhow::Result<bool> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((child, status))) if child == shell => *code = Some(exit_code(status)),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(Errno::CHILD) => return Ok(false),
            Err(error) => return Err(error).context("cannot wait for the server"),
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let by_signal = status.terminating_signal().map(|signal| BY_SIGNAL + signal);
    let code = status.exit_status().or(by_signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}
