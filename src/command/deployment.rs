//! The deployment of the server under load, as far as it can be discovered.

use crate::config::Settings;
use crate::source::discovery::process;
use crate::source::models::Models;
use crate::source::vllm::{VllmSource, base_url};
use roofline::spec::deployment::DeploymentFlags;

/// The deployment from the running server: its command line, if readable, and its model's root. Flags and configuration take precedence.
pub(super) async fn of_running(settings: &Settings) -> DeploymentFlags {
    let line = base_url(settings.vllm_url.first().as_given())
        .ok()
        .and_then(|url| process::server(&url))
        .and_then(|server| DeploymentFlags::from_vllm_command_line(&server.arguments).ok())
        .unwrap_or_default();
    let models = match VllmSource::new(settings.vllm_url.first(), &settings.vllm_request_options())
    {
        Ok(vllm) => vllm.models().await.unwrap_or_default(),
        Err(_) => Models::default(),
    };
    let root = DeploymentFlags {
        model: models.root_of("").map(str::to_owned),
        ..DeploymentFlags::default()
    };
    root.overridden_by(line)
        .overridden_by(settings.deployment.clone())
}
