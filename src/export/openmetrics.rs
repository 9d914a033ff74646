//! Writes OpenMetrics 1.0 text, which the `prometheus` crate does not support.

use std::fmt::Write;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::exposition::{escape_help, escape_label_value};

/// Writes `families`, terminated by `# EOF`.
///
/// A counter's family is named without the suffix `_total`, its sample with it.
#[must_use]
pub fn text(families: &[MetricFamily]) -> String {
    let mut text = String::with_capacity(16 << 10);
    for family in families {
        write_family(&mut text, family);
    }
    text.push_str("# EOF\n");
    text
}

fn write_family(text: &mut String, family: &MetricFamily) {
    let counter = family.get_field_type() == MetricType::COUNTER;
    let name = family.name();
    let stem = if counter {
        name.strip_suffix("_total").unwrap_or(name)
    } else {
        name
    };
    let kind = if counter { "counter" } else { "gauge" };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# TYPE {stem} {kind}");
    let _ = writeln!(text, "# HELP {stem} {}", escape_help(family.help()));
    for metric in family.get_metric() {
        let (suffix, value) = if counter {
            ("_total", metric.get_counter().get_value())
        } else {
            ("", metric.get_gauge().get_value())
        };
        let _ = writeln!(text, "{stem}{suffix}{} {value}", labels(metric));
    }
}

fn labels(metric: &Metric) -> String {
    let pairs: Vec<_> = metric
        .get_label()
        .iter()
        .map(|pair| format!("{}=\"{}\"", pair.name(), escape_label_value(pair.value())))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", pairs.join(","))
    }
}
