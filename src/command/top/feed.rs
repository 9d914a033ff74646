//! The source of `top`'s snapshots: a running exporter, or its own sampler.

use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Context;
use reqwest::Url;
use tokio::time::{MissedTickBehavior, interval};

use crate::address::RequestOptions;
use crate::capture::read::Capture;
use crate::command::serve::{self, SidecarOrigin};
use crate::command::usage::UsageError;
use crate::command::{demo, local_vllm, sampling};
use crate::config::Settings;
use crate::export::snapshot_json;
use crate::sampler::Receiver as Published;
use crate::source::http::{Fetcher, LARGEST_PAGE};
use crate::view::snapshot::SnapshotView;

use super::TopArgs;

/// An update for the screen.
#[derive(Debug)]
pub(super) enum Update {
    /// The newest answer of the source, or its error.
    Answer(Box<Result<SnapshotView, String>>),
    /// The program must end.
    Stop,
}

/// A source of snapshots.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) updates: Receiver<Update>,
    /// Seconds until the trailing window of the source is full.
    pub(super) settled_after: f64,
}

/// Starts the source that `args` select.
///
/// # Errors
/// Invalid settings, or a source that cannot be set up.
pub(super) async fn start(args: &TopArgs) -> anyhow::Result<Feed> {
    let settings = Settings::load(&args.settings)?;
    let (sender, updates) = channel();
    let stop = sender.clone();
    tokio::spawn(async move {
        serve::terminated().await;
        // If the receiver is gone, the program has already ended.
        let _ = stop.send(Update::Stop);
    });
    let settled_after = if let Some(url) = &args.url {
        ask(url, &settings, sender)?;
        0.0
    } else {
        let published = match recording(args)? {
            Some(capture) => {
                let recorded = demo::play(capture, args.settings.clone(), 0).await?;
                let settings = recorded.settings()?;
                let gpu = recorded.gpu(&settings)?;
                sampling::start_with(settings, gpu)
            }
            None => sampling::start(local_vllm::settings(&args.settings)?),
        }?;
        pass_on(published, sender);
        settings.window.seconds().0
    };
    Ok(Feed {
        updates,
        settled_after,
    })
}

fn recording(args: &TopArgs) -> anyhow::Result<Option<Capture>> {
    if args.demo {
        return Ok(Some(Capture::demo()?));
    }
    let directory = args.capture.as_deref();
    let capture = directory.map(Capture::open).transpose();
    Ok(capture.map_err(UsageError::of)?)
}

/// Polls the exporter at `url` once per tick.
fn ask(url: &str, settings: &Settings, sender: Sender<Update>) -> anyhow::Result<()> {
    let base = Url::parse(url).map_err(|error| {
        UsageError::of(format!(
            "--url `{url}` is not a URL ({error}); give one such as http://127.0.0.1:10860"
        ))
    })?;
    let page = base.join("api/v1/snapshot").context("--url")?;
    let options = RequestOptions {
        key_file: None,
        ca_file: None,
        limit: settings.read_limit(),
    };
    let fetcher = Fetcher::new(&base, &options).map_err(UsageError::of)?;
    let mut ticks = interval(settings.tick.0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(async move {
        loop {
            ticks.tick().await;
            let body = fetcher.get(&page, "application/json", LARGEST_PAGE).await;
            let answer = body.map_err(|error| error.to_string()).and_then(|body| {
                serde_json::from_slice(&body)
                    .map_err(|error| format!("{page} is no snapshot: {error}"))
            });
            if sender.send(Update::Answer(Box::new(answer))).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Forwards what is `published` to the screen.
fn pass_on(mut published: Published, sender: Sender<Update>) {
    tokio::spawn(async move {
        while published.changed().await.is_ok() {
            let newest = published.borrow_and_update().clone();
            let Some(newest) = newest else { continue };
            let value = snapshot_json::of(&newest.snapshot);
            let answer = serde_json::from_value(value).map_err(|error| error.to_string());
            if sender.send(Update::Answer(Box::new(answer))).is_err() {
                return;
            }
        }
    });
}
