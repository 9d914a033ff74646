//! A sampler without a server around it: what `top` and `diagnose` look at.

use tokio::sync::mpsc;

use crate::sampler::{Receiver, Sampler, now};
use crate::snapshot::Reload;

use super::serve::Origin;
use super::usage::UsageError;

/// Samples what `origin` says until nobody listens to the receiver any more. On a runtime.
///
/// # Errors
/// Wrong settings, or sources that cannot be set up.
pub(super) fn start(origin: &impl Origin) -> anyhow::Result<Receiver> {
    let settings = origin.settings()?;
    let table = settings.gpu_table()?;
    let gpu = origin.gpu(&settings)?;
    let (sampler, published) = Sampler::new(settings, table, gpu).map_err(UsageError::of)?;
    tokio::spawn(async move {
        // Nobody orders a reload; the sender lives as long as the sampler, which waits for either.
        let (_orders, taken) = mpsc::channel(1);
        let started = Reload {
            successful: true,
            last_success: now(),
        };
        sampler.run(started, taken).await;
    });
    Ok(published)
}
