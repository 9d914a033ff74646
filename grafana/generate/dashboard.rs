//! A dashboard: variables, links, annotations and rows of panels.

use serde_json::{Value, json};

use super::names;
use super::panel::{Panel, datasource};

/// Width of Grafana's grid.
const COLUMNS: usize = 24;

/// Panels in shut rows are numbered from here.
const SHUT_ID: usize = 100;

/// A dashboard in the making.
pub(crate) struct Dashboard {
    uid: &'static str,
    title: &'static str,
    description: &'static str,
    variables: Vec<Variable>,
    /// Placeholders in expressions, and their replacements.
    selectors: Vec<(&'static str, &'static str)>,
    links: Vec<Value>,
    placed: Vec<Placed>,
    y: usize,
    /// The series of alerts that are marked in time, and whose they are.
    alerts: (&'static str, &'static str),
}

/// A variable that lists the values of a label.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// The series whose label is listed.
    pub(crate) series: String,
    /// Several values or all of them, rather than just one.
    pub(crate) many: bool,
}

enum Placed {
    Row(&'static str, usize),
    /// A collapsed row with its panels.
    Shut(&'static str, usize, Vec<(Panel, Value)>),
    Panel(Box<Panel>, Value),
}

impl Dashboard {
    pub(crate) const fn new(
        uid: &'static str,
        title: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            uid,
            title,
            description,
            variables: Vec::new(),
            selectors: Vec::new(),
            links: Vec::new(),
            placed: Vec::new(),
            y: 0,
            alerts: (
                "ALERTS{alertname=~\"VllmRoofline.+\",alertstate=\"firing\",SCOPE}",
                "{{model_name}} {{pod}} {{target}}",
            ),
        }
    }

    /// Marks the alerts that are `series`, which `whose` describes.
    pub(crate) const fn alerts(mut self, series: &'static str, whose: &'static str) -> Self {
        self.alerts = (series, whose);
        self
    }

    pub(crate) fn variables(mut self, variables: impl IntoIterator<Item = Variable>) -> Self {
        self.variables.extend(variables);
        self
    }

    /// Replaces `placeholder` in expressions by `matchers`.
    pub(crate) fn selector(mut self, placeholder: &'static str, matchers: &'static str) -> Self {
        self.selectors.push((placeholder, matchers));
        self
    }

    /// A link to another dashboard. `job` and `instance` of vLLM and of its exporter differ, so they are not passed on.
    pub(crate) fn link(mut self, title: &str, uid: &str) -> Self {
        let known = |name: &&str| self.variables.iter().any(|variable| variable.name == *name);
        let taken: String = ["namespace", "pod", "model_name"]
            .into_iter()
            .filter(known)
            .map(|name| ["&${", name, ":queryparam}"].concat())
            .collect();
        let url = format!("/d/{uid}?var-datasource=${{datasource}}{taken}");
        self.links.push(json!({
            "title": title, "type": "link", "url": url, "icon": "dashboard", "tooltip": "", "tags": [],
            "asDropdown": false, "includeVars": false, "keepTime": true, "targetBlank": false,
        }));
        self
    }

    pub(crate) fn row(mut self, title: &'static str) -> Self {
        self.placed.push(Placed::Row(title, self.y));
        self.y += 1;
        self
    }

    /// A row that is shut, for what most engines do not have: an open one would show empty panels.
    pub(crate) fn shut<const N: usize>(mut self, title: &'static str, panels: [Panel; N]) -> Self {
        let width = COLUMNS / N;
        let panels = panels.into_iter().enumerate().map(|(at, panel)| {
            let position = json!({"x": at * width, "y": self.y + 1, "w": width, "h": 8});
            (panel, position)
        });
        self.placed
            .push(Placed::Shut(title, self.y, panels.collect()));
        self.y += 1;
        self
    }

    /// Panels side by side, equally wide.
    pub(crate) fn line<const N: usize>(mut self, height: usize, panels: [Panel; N]) -> Self {
        let width = COLUMNS / N;
        for (at, panel) in panels.into_iter().enumerate() {
            self.place(panel, at * width, self.y, width, height);
        }
        self.y += height;
        self
    }

    /// The panels that answer four questions: what is wrong and what to do, what is the bound, since when, what does it cost.
    pub(crate) fn verdict(
        mut self,
        [alerts, remedies, shares, since, lost, cost]: [Panel; 6],
    ) -> Self {
        let y = self.y;
        self.place(alerts, 0, y, 10, 6);
        self.place(remedies, 0, y + 6, 10, 5);
        self.place(shares, 10, y, 6, 11);
        self.place(since, 16, y, 8, 7);
        self.place(lost, 16, y + 7, 4, 4);
        self.place(cost, 20, y + 7, 4, 4);
        self.y += 11;
        self
    }

    /// A tall panel with others stacked on its right.
    pub(crate) fn beside<const N: usize>(
        mut self,
        width: usize,
        tall: Panel,
        stacked: [(usize, Panel); N],
    ) -> Self {
        let mut y = self.y;
        for (height, panel) in stacked {
            self.place(panel, width, y, COLUMNS - width, height);
            y += height;
        }
        self.place(tall, 0, self.y, width, y - self.y);
        self.y = y;
        self
    }

    fn place(&mut self, panel: Panel, x: usize, y: usize, w: usize, h: usize) {
        let position = json!({"x": x, "y": y, "w": w, "h": h});
        self.placed.push(Placed::Panel(Box::new(panel), position));
    }

    fn resolve(&self, expression: &str) -> String {
        self.selectors.iter().fold(
            expression.to_owned(),
            |resolved, (placeholder, matchers)| resolved.replace(placeholder, matchers),
        )
    }

    /// The dashboard's JSON.
    ///
    /// # Errors
    /// A query of what does not exist.
    pub(crate) fn json(&self) -> Result<Value, String> {
        let mut panels = Vec::new();
        for (at, placed) in self.placed.iter().enumerate() {
            let id = at + 1;
            panels.push(match placed {
                Placed::Row(title, y) => json!({
                    "id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
                    "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
                }),
                Placed::Shut(title, y, panels) => {
                    let inside: Result<Vec<_>, _> = panels
                        .iter()
                        .enumerate()
                        .map(|(inner, (panel, position))| {
                            let id = SHUT_ID * id + inner;
                            panel.json(id, position, &|expression| self.resolve(expression))
                        })
                        .collect();
                    json!({
                        "id": id, "type": "row", "title": title, "collapsed": true, "panels": inside?,
                        "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
                    })
                }
                Placed::Panel(panel, position) => {
                    panel.json(id, position, &|expression| self.resolve(expression))?
                }
            });
        }
        let variables: Result<Vec<_>, _> = self.variables.iter().map(Variable::json).collect();
        let mut listed = vec![json!({
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": "",
            "refresh": 1, "multi": false, "includeAll": false, "options": [], "current": {}, "hide": 0,
        })];
        listed.extend(variables?);
        Ok(json!({
            "id": null,
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["vllm", "roofline"],
            "schemaVersion": 39,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "links": self.links,
            "annotations": {"list": self.annotations()?},
            "templating": {"list": listed},
            "panels": panels,
        }))
    }

    fn annotations(&self) -> Result<Vec<Value>, String> {
        let annotation = |name: &str, color: &str, expression: &str, title: &str, text: &str| {
            let expression = self.resolve(expression);
            names::check(&expression)?;
            Ok(json!({
                "name": name, "datasource": datasource(), "enable": true, "hide": false, "iconColor": color,
                "expr": expression, "step": "30s", "titleFormat": title, "textFormat": text,
            }))
        };
        let (alerts, whose) = self.alerts;
        [
            annotation("Alerts", "red", alerts, "{{alertname}}", whose),
            annotation(
                "Restarts",
                "#9fa7b3",
                "pod:vllm_roofline_restarts:changes3m{POD}",
                "Restart of {{job}}",
                "{{pod}} {{instance}}",
            ),
            annotation(
                "Changed flags",
                "#22c3dd",
                "engine:vllm_roofline_deployment_changed:info{FLAGS}",
                "Other flags",
                "{{pod}} {{target}}: --tensor-parallel-size {{tensor_parallel_size}} --max-num-seqs {{max_num_seqs}} --max-num-batched-tokens {{max_num_batched_tokens}}",
            ),
        ]
        .into_iter()
        .collect()
    }
}

impl Variable {
    /// The variables down to a model, from the fleet's recording rules.
    pub(crate) fn down_to_model(series: &str) -> Vec<Self> {
        let variable = |name, label, series| Self {
            name,
            label,
            series,
            many: true,
        };
        vec![
            variable("cluster", "Cluster", series.to_owned()),
            variable(
                "namespace",
                "Namespace",
                format!("{series}{{cluster=~\"$cluster\"}}"),
            ),
            variable(
                "model_name",
                "Model",
                format!("{series}{{cluster=~\"$cluster\",namespace=~\"$namespace\"}}"),
            ),
        ]
    }

    /// The variables down to one target: each lists the values of its label among the `series` that the previous ones select. The last is
    /// called `last`, and has several values if `many` is true.
    pub(crate) fn down_to_instance(series: &str, last: &'static str, many: bool) -> Vec<Self> {
        let mut matchers: Vec<String> = Vec::new();
        let mut variables = Vec::new();
        for (name, label) in [
            ("job", "Job"),
            ("namespace", "Namespace"),
            ("pod", "Pod"),
            ("model_name", "Model"),
            ("instance", last),
        ] {
            let among = if matchers.is_empty() {
                series.to_owned()
            } else {
                format!("{series}{{{}}}", matchers.join(","))
            };
            matchers.push(format!("{name}=~\"${name}\""));
            variables.push(Self {
                name,
                label,
                series: among,
                many: many || name != "instance",
            });
        }
        variables
    }

    /// The server of an exporter that reads several. It stays empty for a single server, whose `series` have no label `target`.
    pub(crate) fn server(series: &str) -> Self {
        Self {
            name: "target",
            label: "Server",
            series: format!(
                "{series}{{job=~\"$job\",namespace=~\"$namespace\",pod=~\"$pod\",instance=~\"$instance\"}}"
            ),
            many: false,
        }
    }

    fn json(&self) -> Result<Value, String> {
        let Self {
            name,
            label,
            series,
            many,
        } = self;
        names::check(series)?;
        let query = format!("label_values({series}, {name})");
        let mut variable = json!({
            "name": name, "label": label, "type": "query", "datasource": datasource(),
            "definition": query, "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "regex": "", "refresh": 2, "sort": 1, "multi": many, "includeAll": many, "options": [], "current": {}, "hide": 0,
        });
        if *many {
            // Also fits series that lack the label, such as namespace and pod outside Kubernetes.
            variable["allValue"] = json!(".*");
            variable["current"] = json!({"selected": true, "text": ["All"], "value": ["$__all"]});
        }
        Ok(variable)
    }
}
