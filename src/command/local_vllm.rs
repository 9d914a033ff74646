//! Finds the vLLM on this host if no URL is configured.

use std::io::{Write, stderr};

use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use crate::source::discovery::process;

/// vLLM's default port.
const DEFAULT_PORT: u16 = 8000;

/// The settings from `flags`. If neither flags, file nor environment name a vLLM, the one on this host is used, and reported on stderr.
///
/// # Errors
/// Invalid settings.
pub(super) fn settings(flags: &SettingsFlags) -> anyhow::Result<Settings> {
    let mut settings = Settings::load(flags)?;
    if let Some(found) = find(flags, &mut settings)? {
        // If stderr is closed, the message is lost.
        let _ = writeln!(stderr(), "{found}");
    }
    Ok(settings)
}

/// Adds the vLLM that runs on this host to the `settings` of `flags`, if nothing else names one, and reports it.
///
/// # Errors
/// Unusable defaults.
pub(super) fn find(
    flags: &SettingsFlags,
    settings: &mut Settings,
) -> anyhow::Result<Option<String>> {
    let default = Settings::defaults()?.vllm_url;
    if flags.vllm_url.is_some() || settings.vllm_url != default {
        return Ok(None);
    }
    let ports = process::local_ports();
    Ok(choice(&ports).map(|port| {
        let url = format!("http://127.0.0.1:{port}");
        let others = if ports.len() > 1 {
            format!(
                " of {} here; --vllm-url chooses another, or several when given more than once",
                ports.len()
            )
        } else {
            String::new()
        };
        let found = format!("vLLM found at {url}{others}");
        settings.vllm_url = url.into();
        found
    }))
}

/// The port to use among those on which vLLM runs: the default port first. `None` if no visible vLLM runs.
fn choice(ports: &[u16]) -> Option<u16> {
    let usual = ports.iter().find(|port| **port == DEFAULT_PORT);
    usual.or(ports.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_port_is_taken_before_others() {
        assert_eq!(choice(&[]), None);
        assert_eq!(choice(&[7999, 8000, 8123]), Some(8000));
        assert_eq!(choice(&[8123, 8124]), Some(8123));
    }
}
