//! `supervise`, which `--launch` runs and nobody else: runs a shell command, and ends it with everything that it starts itself once
//! whoever asked for it is gone, by whatever means.
//!
//! Its standard input is a pipe that its parent holds open: the end of it is the end of the parent, which even SIGKILL cannot hide. It
//! adopts orphans, so that a server that leaves its process group or session is still found among its descendants.

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

/// What was asked to end and did not within so long is killed.
const TERMINATION_GRACE: Duration = Duration::from_secs(30);
/// How often it is seen whether that time is over.
const POLL: Duration = Duration::from_millis(200);
/// What shells add to the number of the signal that ended a command.
const BY_SIGNAL: i32 = 128;

/// Arguments of `supervise`.
#[derive(Clone, Debug, clap::Args)]
pub struct SuperviseArgs {
    /// The shell command
    pub line: String,
}

/// What runs a shell command under supervision: the command is to be added as its last argument.
#[must_use]
pub fn supervisor() -> Command {
    // Found even where the program's file has been replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(env!("CARGO_PKG_NAME")).arg("supervise");
    command
}

/// Runs the shell command.
///
/// # Errors
/// [`Ended`] with the exit code of the shell; what the system says where there is none.
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
    // Before there are children, so that the end of none is missed.
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

/// Told when the parent is gone, or wants an end.
fn end_of_parent() -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut nothing = [0; 64];
        while stdin().read(&mut nothing).is_ok_and(|length| length > 0) {}
        // Nobody listens where the end came first.
        let _ = tell.send(());
    });
    told
}

/// Asks everything to end, and returns when that time is over.
fn say_farewell() -> Instant {
    tell_all(Signal::TERM);
    Instant::now() + TERMINATION_GRACE
}

fn tell_all(signal: Signal) {
    for process in descendants(std::process::id()) {
        let process = i32::try_from(process).ok().and_then(Pid::from_raw);
        if let Some(process) = process {
            // It may be gone meanwhile.
            let _ = kill_process(process, signal);
        }
    }
}

/// Takes note of the children that ended, `code` among them, which is the shell's. Whether any is left.
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
