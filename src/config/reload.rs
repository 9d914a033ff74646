//! The effect of a reload on each setting: one list, whose completeness a test checks.

use serde_json::Value;

use super::Settings;
use Rebuild::{Facts, GpuSource, Process, VllmClients};

/// The part that a changed setting rebuilds. Other parts keep their counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuild {
    /// The process: a reload rejects the change.
    Process,
    /// The HTTP clients of vLLM.
    VllmClients,
    /// The GPU source.
    GpuSource,
    /// Model, deployment and GPU facts.
    Facts,
}

/// One setting.
struct ReloadedSetting {
    key: &'static str,
    /// The parts that it rebuilds; empty if each tick or request reads the setting.
    rebuilds: &'static [Rebuild],
    differs: fn(&Settings, &Settings) -> bool,
}

/// Whether a setting has changed at all.
fn differ<T: PartialEq>(now: &T, next: &T) -> bool {
    now != next
}

macro_rules! settings {
    ($($key:literal: $($field:ident).+ => $rebuilds:expr,)*) => {
        &[$(ReloadedSetting {
            key: $key,
            rebuilds: &$rebuilds,
            differs: |now, next| differ(&now.$($field).+, &next.$($field).+),
        },)*]
    };
}

/// Every key of config/default.yaml.
const SETTINGS: &[ReloadedSetting] = settings! {
    "web.listen-address": web.listen_address => [Process],
    "web.telemetry-path": web.telemetry_path => [Process],
    "web.config.file": web.config.file => [],
    "web.disable-exporter-metrics": web.disable_exporter_metrics => [],
    "log.level": log.level => [],
    "log.format": log.format => [Process],
    "vllm-url": vllm_url => [Facts],
    "vllm-api-key-file": vllm_api_key_file => [VllmClients],
    "vllm-ca-file": vllm_ca_file => [VllmClients],
    "gpu-source": gpu_source => [GpuSource],
    "dcgm-url": dcgm_url => [GpuSource],
    "dcgm-ca-file": dcgm_ca_file => [GpuSource],
    "dcgm-pod": dcgm_pod => [GpuSource],
    "gpu-devices": gpu_devices => [GpuSource, Facts],
    "tick": tick => [VllmClients, GpuSource],
    "window": window => [],
    "stall-after": stall_after => [],
    "overhead-below": overhead_below => [],
    "calibrate": calibrate => [],
    "gpu-hour-price": gpu_hour_price => [],
    "slo-ttft": slo_ttft => [],
    "slo-tpot": slo_tpot => [],
    "deployment": deployment => [Facts],
    "gpu": gpu => [Facts],
    "gpus": gpus => [Facts],
    "coefficients": coefficients => [Facts],
};

impl Settings {
    /// Whether `next` differs in a setting that rebuilds `part`. A file with CAs or coefficients counts as different: its content may have
    /// changed under the same name.
    #[must_use]
    pub fn rebuilds(&self, part: Rebuild, next: &Self) -> bool {
        let named_files = match part {
            VllmClients => next.vllm_ca_file.is_some(),
            GpuSource => next.dcgm_ca_file.is_some(),
            Facts => next.coefficients.is_some(),
            Process => false,
        };
        named_files || self.changed(part, next).next().is_some()
    }

    /// The keys of the settings that rebuild `part` and differ in `next`.
    pub fn changed(&self, part: Rebuild, next: &Self) -> impl Iterator<Item = &'static str> {
        SETTINGS
            .iter()
            .filter(move |setting| setting.rebuilds.contains(&part))
            .filter(|setting| (setting.differs)(self, next))
            .map(|setting| setting.key)
    }

    /// The value of `key` as text, for messages.
    #[must_use]
    pub fn shown(&self, key: &str) -> String {
        let settings = serde_json::to_value(self).unwrap_or_default();
        let value = settings.pointer(&format!("/{}", key.replace('.', "/")));
        value.map_or_else(String::new, |value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The keys of `settings`; an object without further keys, and vLLM's own flags, are one key.
    fn keys(settings: &Value, above: &str) -> BTreeSet<String> {
        let members = settings.as_object().expect("settings are objects");
        let key = |(name, value): (&String, &Value)| {
            let key = format!("{above}{name}");
            if value.is_object() && key != "deployment" {
                keys(value, &format!("{key}."))
            } else {
                BTreeSet::from([key])
            }
        };
        members.iter().flat_map(key).collect()
    }

    #[test]
    fn every_setting_says_what_it_rebuilds() {
        let defaults = serde_json::to_value(Settings::defaults().unwrap()).unwrap();
        let listed: BTreeSet<String> = SETTINGS.iter().map(|one| one.key.to_owned()).collect();
        assert_eq!(keys(&defaults, ""), listed);
        assert_eq!(listed.len(), SETTINGS.len(), "a key stands twice");
    }

    #[test]
    fn a_change_rebuilds_what_depends_on_it_and_nothing_else() {
        let now = Settings::defaults().unwrap();
        let rebuilt = |next: &Settings| {
            [Process, VllmClients, GpuSource, Facts].map(|part| now.rebuilds(part, next))
        };
        assert_eq!(rebuilt(&now), [false; 4]);
        let tick = Settings {
            tick: "7s".parse().unwrap(),
            ..now.clone()
        };
        assert_eq!(rebuilt(&tick), [false, true, true, false]);
        let coefficients = Settings {
            coefficients: Some("measured.yaml".into()),
            ..now.clone()
        };
        assert_eq!(rebuilt(&coefficients), [false, false, false, true]);
        // Without the file the built-in coefficients come back.
        assert!(coefficients.rebuilds(Facts, &now));
    }
}
