//! The roofline as a native XY chart, log-log, without a plugin.

use serde_json::{Value, json};

use super::panel::Panel;
use super::style::{DECODE, PREFILL, ROOFS};

/// The roofline itself.
///
/// Every query is a table with a label `point`, unique to its row: `merge` joins rows of different queries on their common columns, time
/// and `point`. An XY series then uses two columns of the one merged frame. Lines join rows in their order, which the sort by `point` makes
/// left, ridge, right.
pub(crate) fn chart() -> Panel {
    let phases = [
        ("prefill", "Prefill", PREFILL),
        ("decode", "Decode", DECODE),
    ];
    let mut series = Vec::new();
    for (level, name, _) in ROOFS {
        series.push(xy_series(name, level));
    }
    for (phase, name, _) in phases {
        series.push(xy_series(
            &format!("{name} trail"),
            &format!("{phase} trail"),
        ));
        series.push(xy_series(&format!("{name} now"), &format!("{phase} now")));
    }
    let mut panel = Panel::xy(
        "Roofline",
        "Each phase at its arithmetic intensity (FLOPs per HBM byte) and the FLOPs per second of its own busy time, now and along the time range, under the roofs of all GPUs of an engine. Left of the ridge a phase is bound by memory bandwidth, right of it by compute; how far it is below the roof is what can be won. Roofs are specified (GPU table), the one at the current clock is measured by the SM clock.",
        &series,
    )
    .unit("flops")
    .logarithmic()
    .custom("show", json!("points"))
    .custom("pointShape", json!("circle"))
    .custom("pointSize", json!({"fixed": 4}))
    .custom("pointStrokeWidth", json!(1))
    .custom("fillOpacity", json!(50))
    .custom("lineWidth", json!(2))
    .custom("axisLabel", json!("FLOP/s of the phase's busy time"))
    .transformation("merge", &json!({}))
    .transformation("sortBy", &json!({"sort": [{"field": "point", "desc": false}]}))
    .matching(
        "/ x$/",
        &[
            ("unit", json!("none")),
            ("custom.axisLabel", json!("arithmetic intensity, FLOP per HBM byte")),
        ],
    );
    panel = roof_lines(panel);
    for (phase, _, color) in phases {
        panel = phase_points(panel, phase, color);
    }
    panel
}

/// The corners of every roof.
fn roof_lines(mut panel: Panel) -> Panel {
    for (level, _, color) in ROOFS {
        let corners = |metric: &str| {
            format!(
                "label_join(max by (level, point) (vllm_roofline_{metric}{{ENGINE,level=\"{level}\"}}), \"point\", \" \", \"level\", \"point\")"
            )
        };
        panel = panel
            .column(
                &format!("{level} x"),
                &corners("roof_intensity_flops_per_byte"),
            )
            .column(&format!("{level} y"), &corners("roof_flops_per_second"))
            .named(
                &format!("Value #{level} y"),
                &[
                    ("custom.show", json!("lines")),
                    ("color", json!({"mode": "fixed", "fixedColor": color})),
                ],
            );
    }
    // Often the same as the datasheet's: both must be visible.
    panel.named(
        "Value #current_clock y",
        &[(
            "custom.lineStyle",
            json!({"fill": "dash", "dash": [10, 10]}),
        )],
    )
}

/// The trail of a phase over the time range, and its current position.
fn phase_points(panel: Panel, phase: &str, color: &str) -> Panel {
    let point = |metric: &str, when: &str| {
        format!(
            "label_replace(avg(vllm_roofline_{metric}{{ENGINE,phase=\"{phase}\"}} > 0), \"point\", \"{phase} {when}\", \"\", \"\")"
        )
    };
    let x = |when: &str| point("arithmetic_intensity_flops_per_byte", when);
    let y = |when: &str| point("busy_flops_per_second", when);
    let column = |when: &str, axis: &str| format!("{phase} {when} {axis}");
    let fixed = json!({"mode": "fixed", "fixedColor": color});
    panel
        .column_over_time(&column("trail", "x"), &x("trail"))
        .column_over_time(&column("trail", "y"), &y("trail"))
        .named(
            &format!("Value #{phase} trail y"),
            &[("color", fixed.clone())],
        )
        .column(&column("now", "x"), &x("now"))
        .column(&column("now", "y"), &y("now"))
        .named(
            &format!("Value #{phase} now y"),
            &[
                ("color", fixed),
                ("custom.pointSize.fixed", json!(14)),
                ("custom.fillOpacity", json!(90)),
            ],
        )
}

fn xy_series(name: &str, column: &str) -> Value {
    let field = |axis: &str| json!({"matcher": {"id": "byName", "options": format!("Value #{column} {axis}")}});
    json!({
        "name": {"fixed": name},
        // Grafana honours no other frame matcher than the index.
        "frame": {"matcher": {"id": "byIndex", "options": 0}},
        "x": field("x"),
        "y": field("y"),
    })
}
