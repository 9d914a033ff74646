//! Reloads: SIGHUP reloads everything that was loaded at the start; changed certificates and users are picked up without a signal. An
//! invalid configuration is rejected and the previous one stays active.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::address::Address;
use crate::config::{Rebuild, Settings};
use crate::sampler::{ReloadCommand, ServerUpdate, SettingsUpdate, now};
use crate::server::web_config_handle::{ActiveWebConfig, WebConfigHandle};
use crate::snapshot::Reload;
use crate::source::vllm::{VllmError, VllmSource};
use crate::telemetry::{self, LogLevel};

use super::serve::{SidecarOrigin, rules};
use super::usage::UsageError;

/// Poll interval for the files of the web configuration.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Everything that a reload replaces, and the outcome of the newest reload.
pub(super) struct Reloading<O> {
    origin: O,
    log: LogLevel,
    web_config_handle: WebConfigHandle,
    settings: watch::Sender<Arc<Settings>>,
    orders: mpsc::Sender<ReloadCommand>,
    newest: Reload,
    /// Why the settings read last are not in force.
    refused: Option<String>,
    /// Why the web configuration read last is not in force.
    refused_rules: Option<String>,
}

impl<O: SidecarOrigin> Reloading<O> {
    pub(super) fn new(
        origin: O,
        log: LogLevel,
        web_config_handle: WebConfigHandle,
        settings: watch::Sender<Arc<Settings>>,
        orders: mpsc::Sender<ReloadCommand>,
    ) -> Self {
        Self {
            origin,
            log,
            web_config_handle,
            settings,
            orders,
            newest: Reload {
                successful: true,
                last_success: now(),
            },
            refused: None,
            refused_rules: None,
        }
    }

    /// The outcome of the newest reload; the start counts as one.
    pub(super) const fn newest(&self) -> Reload {
        self.newest
    }

    /// Reloads on each of `hangups`, until the sampler ends.
    pub(super) async fn run(mut self, mut hangups: Signal) {
        while !self.orders.is_closed() {
            tokio::select! {
                Some(()) = hangups.recv() => self.reload().await,
                () = sleep(LOOK_AGAIN) => {
                    if self.refused_rules.is_some() || self.web_config_handle.rules().are_outdated() {
                        self.renew().await;
                    }
                }
            }
        }
    }

    /// Reloads everything, or nothing on an error.
    async fn reload(&mut self) {
        match self.prepare() {
            Ok(PreparedReload {
                settings_update,
                rules,
                log,
            }) => {
                let settings = Arc::new(settings_update.settings.clone());
                self.log.set(log);
                self.web_config_handle.adopt(rules);
                self.refused = None;
                self.refused_rules = None;
                tracing::info!("configuration reloaded");
                self.order(Some(settings_update), true).await;
                self.settings.send_replace(settings);
            }
            Err(Refusal {
                error,
                settings_hold,
            }) => {
                let error = format!("{error:#}");
                tracing::error!("configuration not reloaded, everything stays as it was: {error}");
                if settings_hold {
                    self.refused = None;
                    self.refused_rules = Some(error);
                } else {
                    self.refused = Some(error);
                }
                self.order(None, false).await;
            }
        }
    }

    /// Reloads certificates and users.
    async fn renew(&mut self) {
        let now = Arc::clone(&self.settings.borrow());
        match self.rules(&now) {
            Ok(rules) => {
                self.web_config_handle.adopt(rules);
                self.refused_rules = None;
                tracing::info!("web configuration and certificates renewed");
                self.order(None, true).await;
            }
            // Perhaps only one of certificate and key is new yet. The reload is retried, and an error is logged when it changes.
            Err(error) => {
                let error = format!("{error:#}");
                if self.refused_rules.as_deref() != Some(&error) {
                    tracing::error!("web configuration not renewed, the old one stays: {error}");
                    self.refused_rules = Some(error);
                    self.order(None, false).await;
                }
            }
        }
    }

    async fn order(&mut self, settings_update: Option<Box<SettingsUpdate>>, something_new: bool) {
        self.newest.successful = self.refused.is_none() && self.refused_rules.is_none();
        if something_new {
            self.newest.last_success = now();
        }
        let reload = self.newest;
        // Sending fails only at the end of the program.
        let _ = self
            .orders
            .send(ReloadCommand {
                reload,
                settings_update,
            })
            .await;
    }

    fn prepare(&self) -> Result<PreparedReload, Refusal> {
        let next = self.origin.settings()?;
        let now = Arc::clone(&self.settings.borrow());
        can_change(&now, &next)?;
        Ok(PreparedReload {
            rules: self.rules(&next).map_err(|error| Refusal {
                settings_hold: next == *now,
                error,
            })?,
            log: telemetry::filter(&next.log).map_err(anyhow::Error::msg)?,
            settings_update: Box::new(settings_update(&self.origin, &now, next)?),
        })
    }

    fn rules(&self, settings: &Settings) -> anyhow::Result<ActiveWebConfig> {
        let next = rules(settings)?;
        let (before, after) = (self.web_config_handle.rules().scheme(), next.scheme());
        ensure!(
            before == after,
            "--web.config.file, tls_server_config: pages are served over {before}, and {after} takes a restart; restart, or set it back"
        );
        Ok(next)
    }
}

/// A reload that can no longer fail.
struct PreparedReload {
    settings_update: Box<SettingsUpdate>,
    rules: ActiveWebConfig,
    log: tracing_subscriber::filter::Targets,
}

/// Why a reload is rejected.
struct Refusal {
    error: anyhow::Error,
    /// Whether the settings are those in force: then only the web configuration is invalid, which is polled without a signal.
    settings_hold: bool,
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self {
            error,
            settings_hold: false,
        }
    }
}

/// Rejects changes to settings that cannot change at run time, with their names.
fn can_change(now: &Settings, next: &Settings) -> anyhow::Result<()> {
    if let Some(key) = now.changed(Rebuild::Process, next).next() {
        let [before, after] = [now, next].map(|settings| settings.shown(key));
        bail!("{key} is {before}, and {after} takes a restart; restart, or set it back");
    }
    Ok(())
}

/// The parts that must be rebuilt if `next` replaces `now`.
fn settings_update(
    origin: &impl SidecarOrigin,
    now: &Settings,
    next: Settings,
) -> anyhow::Result<SettingsUpdate> {
    let options = next.vllm_request_options();
    let new_clients = now.rebuilds(Rebuild::VllmClients, &next);
    let new_gpu_source = now.rebuilds(Rebuild::GpuSource, &next);
    let server = |url: &Address| {
        Ok(ServerUpdate {
            url: url.clone(),
            vllm: VllmSource::new(url, &options)?,
            is_new: new_clients || now.vllm_url.iter().all(|before| before != url),
        })
    };
    let servers = next.vllm_url.iter().map(server);
    Ok(SettingsUpdate {
        servers: servers
            .collect::<Result<_, VllmError>>()
            .map_err(UsageError::of)?,
        gpu: new_gpu_source.then(|| origin.gpu(&next)).transpose()?,
        tables: next.tables()?,
        facts_changed: now.rebuilds(Rebuild::Facts, &next),
        settings: next,
    })
}
