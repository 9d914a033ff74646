//! Panels, as Grafana 11.6 to 13 read them: core panels only, classic JSON.

use serde_json::{Map, Value, json};

use super::names;
use super::style::{PARTS, StateSet};

/// What every panel and query reads from.
pub(crate) fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// The oldest Grafana that the panels support. Without it, Grafana treats an XY chart as one from before 11.1 and misreads it.
const PLUGIN_VERSION: &str = "11.6.0";

/// A query, with its name in transformations and overrides.
pub(crate) struct Query {
    pub(crate) name: String,
    pub(crate) expression: String,
    legend: String,
    instant: bool,
    table: bool,
}

/// A panel under construction.
pub(crate) struct Panel {
    kind: &'static str,
    title: &'static str,
    description: &'static str,
    pub(crate) queries: Vec<Query>,
    defaults: Map<String, Value>,
    custom: Map<String, Value>,
    overrides: Vec<Value>,
    options: Value,
    transformations: Vec<Value>,
}

impl Panel {
    fn new(
        kind: &'static str,
        title: &'static str,
        description: &'static str,
        options: Value,
    ) -> Self {
        Self {
            kind,
            title,
            description,
            queries: Vec::new(),
            defaults: Map::new(),
            custom: Map::new(),
            overrides: Vec::new(),
            options,
            transformations: Vec::new(),
        }
    }

    /// Lines over time.
    pub(crate) fn timeseries(title: &'static str, description: &'static str) -> Self {
        let options = json!({
            "legend": {"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        });
        Self::new("timeseries", title, description, options)
            .custom("drawStyle", json!("line"))
            .custom("lineWidth", json!(2))
            .custom("fillOpacity", json!(0))
            .custom("showPoints", json!("never"))
            .custom("spanNulls", json!(false))
            // The same name has the same colour on every panel.
            .default("color", json!({"mode": "palette-classic-by-name"}))
    }

    /// One number, or one word.
    pub(crate) fn stat(title: &'static str, description: &'static str) -> Self {
        let options = json!({
            "reduceOptions": {"values": false, "calcs": ["lastNotNull"], "fields": ""},
            "orientation": "auto", "textMode": "value", "colorMode": "value", "graphMode": "none",
            "justifyMode": "center", "wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
        });
        Self::new("stat", title, description, options)
    }

    /// A timeline of states.
    pub(crate) fn state_timeline(title: &'static str, description: &'static str) -> Self {
        let options = json!({
            "showValue": "never", "rowHeight": 0.85, "mergeValues": true, "alignValue": "left",
            "legend": {"showLegend": true, "displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "single", "sort": "none"},
        });
        Self::new("state-timeline", title, description, options)
            .custom("fillOpacity", json!(85))
            .custom("lineWidth", json!(0))
            .fixed_color("text")
    }

    /// Bars, longest first.
    pub(crate) fn bars(title: &'static str, description: &'static str) -> Self {
        let options = json!({
            "displayMode": "basic", "orientation": "horizontal", "valueMode": "text", "namePlacement": "auto", "sizing": "manual",
            "showUnfilled": true, "text": {"titleSize": 14, "valueSize": 16}, "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 56,
            "reduceOptions": {"values": false, "calcs": ["lastNotNull"], "fields": ""},
            "legend": {"showLegend": false, "displayMode": "list", "placement": "bottom", "calcs": []},
        });
        Self::new("bargauge", title, description, options)
    }

    /// Rows of several queries, joined on their labels.
    pub(crate) fn table(title: &'static str, description: &'static str) -> Self {
        let options = json!({"showHeader": true, "cellHeight": "sm", "sortBy": []});
        Self::new("table", title, description, options)
            .transformation("merge", &json!({}))
            .custom("align", json!("auto"))
            .custom("filterable", json!(true))
    }

    /// How many observations fell into which bucket, over time.
    pub(crate) fn heatmap(title: &'static str, description: &'static str, unit: &str) -> Self {
        let options = json!({
            "calculate": false, "cellGap": 1, "cellRadius": 0,
            "color": {"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "scale": "exponential", "exponent": 0.5, "steps": 64, "reverse": false},
            "exemplars": {"color": "rgba(255,0,255,0.7)"}, "filterValues": {"le": 1e-9}, "rowsFrame": {"layout": "auto"},
            "legend": {"show": true}, "showValue": "never", "tooltip": {"mode": "single", "showColorScale": false, "yHistogram": false},
            "yAxis": {"axisPlacement": "left", "reverse": false, "unit": unit},
        });
        let mut panel = Self::new("heatmap", title, description, options);
        panel
            .custom
            .insert("scaleDistribution".into(), json!({"type": "linear"}));
        panel
    }

    /// Points and lines of one number over another.
    pub(crate) fn xy(title: &'static str, description: &'static str, series: &[Value]) -> Self {
        let options = json!({
            "mapping": "manual", "series": series,
            "legend": {"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        });
        Self::new("xychart", title, description, options)
    }

    /// A query over the time range; `legend` may hold `{{label}}`.
    pub(crate) fn line(self, legend: &str, expression: &str) -> Self {
        let name = ref_id(self.queries.len());
        self.query(&name, legend, expression, false, false)
    }

    /// A query of the end of the time range.
    pub(crate) fn now(self, legend: &str, expression: &str) -> Self {
        let name = ref_id(self.queries.len());
        self.query(&name, legend, expression, true, false)
    }

    /// A table query called `name`, of the end of the time range; its values become the column `Value #name`.
    pub(crate) fn column(self, name: &str, expression: &str) -> Self {
        self.query(name, "", expression, true, true)
    }

    /// A table query called `name` over the time range.
    pub(crate) fn column_over_time(self, name: &str, expression: &str) -> Self {
        self.query(name, "", expression, false, true)
    }

    fn query(
        mut self,
        name: &str,
        legend: &str,
        expression: &str,
        instant: bool,
        table: bool,
    ) -> Self {
        self.queries.push(Query {
            name: name.to_owned(),
            expression: expression.to_owned(),
            legend: legend.to_owned(),
            instant,
            table,
        });
        self
    }

    pub(crate) fn option(mut self, key: &str, value: Value) -> Self {
        self.options[key] = value;
        self
    }

    pub(crate) fn default(mut self, key: &str, value: Value) -> Self {
        self.defaults.insert(key.to_owned(), value);
        self
    }

    pub(crate) fn custom(mut self, key: &str, value: Value) -> Self {
        self.custom.insert(key.to_owned(), value);
        self
    }

    pub(crate) fn transformation(mut self, id: &str, options: &Value) -> Self {
        self.transformations
            .push(json!({"id": id, "options": options}));
        self
    }

    pub(crate) fn unit(self, unit: &str) -> Self {
        self.default("unit", json!(unit))
    }

    /// The text for a missing value; it is neither good nor bad.
    pub(crate) fn no_value(self, text: &str) -> Self {
        let mapping = json!({
            "type": "special", "options": {"match": "null+nan", "result": {"text": text, "color": "text", "index": 99}},
        });
        let panel = self.default("noValue", json!(text));
        if panel.kind == "stat" {
            panel.mappings(&[mapping])
        } else {
            panel
        }
    }

    pub(crate) fn range(self, min: f64, max: f64) -> Self {
        self.default("min", json!(min)).default("max", json!(max))
    }

    pub(crate) fn min(self, min: f64) -> Self {
        self.default("min", json!(min))
    }

    pub(crate) fn logarithmic(self) -> Self {
        self.custom("scaleDistribution", json!({"type": "log", "log": 10}))
    }

    pub(crate) fn stacked(self) -> Self {
        self.custom("stacking", json!({"mode": "normal", "group": "A"}))
            .custom("fillOpacity", json!(70))
            .custom("lineWidth", json!(0))
    }

    pub(crate) fn fixed_color(self, color: &str) -> Self {
        self.default("color", json!({"mode": "fixed", "fixedColor": color}))
    }

    pub(crate) fn mappings(self, mappings: &[Value]) -> Self {
        self.default("mappings", json!(mappings))
    }

    /// Colours from each value on; the first is the colour below all.
    pub(crate) fn thresholds(self, steps: &[(&str, Option<f64>)]) -> Self {
        let steps: Vec<_> = steps
            .iter()
            .map(|(color, value)| json!({"color": color, "value": value}))
            .collect();
        self.default("thresholds", json!({"mode": "absolute", "steps": steps}))
            .default("color", json!({"mode": "thresholds"}))
    }

    /// Properties of the series or column called `name`.
    pub(crate) fn named(mut self, name: &str, properties: &[(&str, Value)]) -> Self {
        self.overrides.push(matching("byName", name, properties));
        self
    }

    /// Properties of all series or columns that fit `pattern`.
    pub(crate) fn matching(mut self, pattern: &str, properties: &[(&str, Value)]) -> Self {
        self.overrides
            .push(matching("byRegexp", pattern, properties));
        self
    }

    /// Colours by series name.
    pub(crate) fn colors(
        self,
        colors: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) -> Self {
        colors.into_iter().fold(self, |panel, (name, color)| {
            panel.named(
                name,
                &[("color", json!({"mode": "fixed", "fixedColor": color}))],
            )
        })
    }

    /// The parts of time, under the names and in the colours that they have everywhere.
    pub(crate) fn parts(self) -> Self {
        let parts = PARTS.iter();
        self.called(parts.map(|part| (part.component, part.name, part.color)))
    }

    /// The states of a set, likewise.
    pub(crate) fn states(self, set: &StateSet) -> Self {
        self.called(set.states())
    }

    /// Names and colours by series.
    fn called(
        self,
        series: impl Iterator<Item = (&'static str, &'static str, &'static str)>,
    ) -> Self {
        series.fold(self, |panel, (label, name, color)| {
            panel.named(
                label,
                &[
                    ("displayName", json!(name)),
                    ("color", json!({"mode": "fixed", "fixedColor": color})),
                ],
            )
        })
    }

    /// A target drawn as a dashed line.
    pub(crate) fn dashed(self, name: &str, color: &str) -> Self {
        self.named(
            name,
            &[
                ("custom.lineStyle", json!({"fill": "dash", "dash": [8, 6]})),
                ("custom.lineWidth", json!(1)),
                ("custom.fillOpacity", json!(0)),
                ("color", json!({"mode": "fixed", "fixedColor": color})),
            ],
        )
    }

    /// The panel's JSON. `resolve` turns the placeholders of an expression into matchers.
    ///
    /// # Errors
    /// A query of what does not exist.
    pub(crate) fn json(
        &self,
        id: usize,
        position: &Value,
        resolve: &impl Fn(&str) -> String,
    ) -> Result<Value, String> {
        let mut targets = Vec::new();
        let mut metrics = Vec::new();
        for query in &self.queries {
            let expression = resolve(&query.expression);
            names::check(&expression).map_err(|why| format!("panel `{}`: {why}", self.title))?;
            for selection in names::selections(&expression) {
                let said = format!(
                    "`{}` ({})",
                    selection.metric,
                    names::provenance(selection.metric)
                );
                if !metrics.contains(&said) {
                    metrics.push(said);
                }
            }
            targets.push(query.json(&expression, self.kind == "heatmap"));
        }
        let mut defaults = self.defaults.clone();
        if !self.custom.is_empty() {
            defaults.insert("custom".into(), json!(self.custom));
        }
        Ok(json!({
            "id": id,
            "type": self.kind,
            "title": self.title,
            "description": format!("{}\n\nReads {}.", self.description, metrics.join(", ")),
            "pluginVersion": PLUGIN_VERSION,
            "datasource": datasource(),
            "gridPos": position,
            "targets": targets,
            "transformations": self.transformations,
            "options": self.options,
            "fieldConfig": {"defaults": defaults, "overrides": self.overrides},
        }))
    }
}

impl Query {
    fn json(&self, expression: &str, heatmap: bool) -> Value {
        let format = if heatmap {
            "heatmap"
        } else if self.table {
            "table"
        } else {
            "time_series"
        };
        json!({
            "refId": self.name,
            "datasource": datasource(),
            "editorMode": "code",
            "expr": expression,
            "legendFormat": self.legend,
            "format": format,
            "instant": self.instant,
            "range": !self.instant,
        })
    }
}

fn matching(matcher: &str, what: &str, properties: &[(&str, Value)]) -> Value {
    let properties: Vec<_> = properties
        .iter()
        .map(|(id, value)| json!({"id": id, "value": value}))
        .collect();
    json!({"matcher": {"id": matcher, "options": what}, "properties": properties})
}

/// `A`, `B`, …
fn ref_id(at: usize) -> String {
    let letter = u8::try_from(at).map_or(b'Z', |at| b'A' + at.min(25));
    char::from(letter).to_string()
}
