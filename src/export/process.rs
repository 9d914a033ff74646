//! `process_*`: the exporter's own resource usage.

use std::sync::OnceLock;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;

/// CPU seconds, memory, file descriptors and threads of this process.
#[must_use]
pub fn families() -> Vec<MetricFamily> {
    static PROCESS: OnceLock<ProcessCollector> = OnceLock::new();
    let mut families = PROCESS.get_or_init(ProcessCollector::for_self).collect();
    families.retain(|family| !family.get_metric().is_empty());
    families
}
