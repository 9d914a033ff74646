//! `top`: shows the live page in a terminal.

mod feed;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use anyhow::Context;
use tokio::runtime::Builder;

use crate::config::flags::SettingsFlags;
use crate::top::app::App;
use crate::top::palette::Palette;
use crate::top::screen;

use feed::{Feed, Update};

/// The minimum screen size, also used without a terminal.
const SCREEN: (u16, u16) = (80, 24);

/// Arguments of `top`.
#[derive(Clone, Debug, clap::Args)]
pub struct TopArgs {
    /// URL of a running exporter, to read instead of vLLM itself
    #[arg(long, value_name = "URL", conflicts_with_all = ["capture", "demo", "vllm_url"])]
    pub url: Option<String>,
    /// A capture, played in a loop at real speed
    #[arg(long, value_name = "DIR", conflicts_with_all = ["demo", "vllm_url"])]
    pub capture: Option<PathBuf>,
    /// The embedded recording of a real H100
    #[arg(long, conflicts_with = "vllm_url")]
    pub demo: bool,
    /// Print one screen as text and exit; the default if stdout is not a terminal
    #[arg(long)]
    pub once: bool,
    /// Where and how vLLM and the GPUs are read.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// Shows the newest state until the user or a signal ends it.
///
/// # Errors
/// Invalid settings, a source that cannot be set up, a terminal that cannot be used; with one screen, an unreachable vLLM.
pub fn run(args: &TopArgs, color: clap::ColorChoice, out: &mut impl Write) -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let Feed {
        updates,
        settled_after,
    } = runtime.block_on(feed::start(args))?;
    let result = if args.once || !io::stdout().is_terminal() {
        once(&updates, settled_after, out)
    } else if variable("TERM").is_some_and(|term| term == "dumb") {
        terminal::lines(&updates, out)
    } else {
        terminal::show(&updates, palette(color))
    };
    runtime.shutdown_background();
    result
}

fn palette(color: clap::ColorChoice) -> Palette {
    let wanted = match color {
        clap::ColorChoice::Auto => None,
        clap::ColorChoice::Always => Some(true),
        clap::ColorChoice::Never => Some(false),
    };
    Palette::of_terminal(wanted, variable)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a terminal can show stands in its environment, and is no setting"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Prints one screen when the figures have settled.
fn once(
    updates: &Receiver<Update>,
    settled_after: f64,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut app = App::default();
    let mut first = None;
    while let Ok(Update::Answer(answer)) = updates.recv() {
        app.take(*answer);
        let time = app.shown.as_ref().map_or(0.0, |snapshot| snapshot.time);
        let settled = time - *first.get_or_insert(time) >= settled_after;
        if settled || app.problem.is_some() {
            break;
        }
    }
    let (width, height) = SCREEN;
    for line in screen::text(&app, width, height) {
        writeln!(out, "{line}")?;
    }
    if let Some(problem) = &app.problem {
        anyhow::bail!("{problem}; `check` says what is found of vLLM");
    }
    anyhow::ensure!(
        app.engine().is_some(),
        "no engine was seen; `check` says what is found of vLLM"
    );
    Ok(())
}
