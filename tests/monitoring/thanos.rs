//! Two clusters, each with a Prometheus, behind one Thanos whose rulers share the rules. Their engines differ only by `cluster`, and a
//! central evaluation for both equals the evaluation in each cluster. By hand: `tests/thanos.sh`.

#![allow(
    clippy::disallowed_methods,
    reason = "the environment says where Thanos is"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::dashboards;
use crate::live::{ALL, Shown, now, resolved};
use crate::prometheus::{Prometheus, QueryApi, Server, values, wait_until};
use crate::recordings::played::{Slice, cut, phases};
use crate::reserved_port::ReservedPort;
use crate::rules;
use crate::tools::promtool;

const CAPTURE: &str = "tests/fixtures/captures/llama-3.1-8b-kv-starved";
/// The rules of each ruler.
const SHARDS: [&[&str]; 2] = [&["recording.yaml", "fleet.yaml"], &["alerts.yaml"]];
/// The history starts earlier than any rule looks back, and continues while the test runs.
const BEFORE_S: f64 = 4200.0;
const AFTER_S: f64 = 900.0;

/// The flag for the gRPC port, by which Thanos components find each other.
fn grpc(port: &ReservedPort) -> String {
    format!("--grpc-address={}", port.address())
}

/// Starts the program that `tests/thanos.sh` built.
fn thanos(command: &str, arguments: Vec<String>) -> Server {
    let program = std::env::var("THANOS").expect("run by tests/thanos.sh");
    let arguments = [vec![command.to_owned()], arguments].concat();
    Server::start(&program, "--http-address", &arguments)
}

/// A database in which one engine repeats `slice`, as the only pod of a cluster.
fn record(slice: &Slice) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("capture");
    cut(&[slice], &capture);
    let start = (now() - BEFORE_S).floor();
    let rounds = (BEFORE_S + AFTER_S) / slice.seconds();
    let played = Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
        .args([
            "replay",
            "--format",
            "openmetrics",
            "--gpu-hour-price",
            "2.5",
            "--step",
            "15",
        ])
        .args([
            "--start",
            &start.to_string(),
            "--repeat",
            &rounds.ceil().to_string(),
        ])
        .args([
            "--label",
            "job=recorded",
            "--label",
            "namespace=models",
            "--label",
            "pod=vllm-0",
        ])
        .args(["--label", "instance=vllm-0:10860", "--capture"])
        .arg(&capture)
        .output()
        .unwrap();
    assert!(
        played.status.success(),
        "{}",
        String::from_utf8_lossy(&played.stderr)
    );
    let text = directory.path().join("history.om");
    std::fs::write(&text, played.stdout).unwrap();
    let data = directory.path().join("data");
    let [text, data] = [&text, &data].map(|path| path.to_str().unwrap());
    promtool(&["tsdb", "create-blocks-from", "openmetrics", text, data]);
    directory
}

/// A copy of the database.
fn copy(database: &Path) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(database)
        .arg(directory.path())
        .status();
    assert!(copied.unwrap().success());
    directory
}

/// How many series each record has with `matcher`, and which alerts fire.
fn evaluated(by: &impl QueryApi, matcher: &str) -> (BTreeMap<String, usize>, BTreeSet<String>) {
    let records = rules::all().into_iter().filter_map(|rule| rule.record);
    let counted = records.map(|record| {
        let series = by.query(&format!("{record}{{{matcher}}}"));
        (record, series.len())
    });
    let counted = counted.collect();
    let firing = by.query(&format!("ALERTS{{alertstate=\"firing\",{matcher}}}"));
    let names = firing
        .iter()
        .map(|alert| alert["metric"]["alertname"].as_str().unwrap());
    (counted, names.map(str::to_owned).collect())
}

/// A cluster's Prometheus with its Thanos sidecar, and another one on the same history that evaluates the rules itself.
struct Cluster {
    name: String,
    itself: Prometheus,
    store: ReservedPort,
    _prometheus: Prometheus,
    _sidecar: Server,
}

impl Cluster {
    /// The cluster `name`, whose engine repeats `slice`; `rules` are the files.
    fn start(name: &str, slice: &Slice, rules: &[String]) -> Self {
        let database = record(slice);
        let copied = copy(&database.path().join("data"));
        let itself = format!(
            "global: {{evaluation_interval: 5s}}\nstorage: {{tsdb: {{out_of_order_time_window: 2h}}}}\nrule_files: [{}]\n",
            rules.join(", ")
        );
        let itself = Prometheus::start(&itself, copied);
        let labelled = format!("global: {{external_labels: {{cluster: {name}}}}}\n");
        let prometheus = Prometheus::start(&labelled, database);
        let store = ReservedPort::new();
        let sidecar = vec![
            grpc(&store),
            format!("--prometheus.url=http://{}", prometheus.address()),
            format!("--tsdb.path={}", prometheus.database().display()),
        ];
        Self {
            name: name.to_owned(),
            itself,
            store,
            _prometheus: prometheus,
            _sidecar: thanos("sidecar", sidecar),
        }
    }
}

/// A querier over `clusters`, and the rulers that share the rules in `directory`.
fn querier_and_rulers(clusters: &[Cluster], directory: &Path) -> (Server, Vec<Server>) {
    let listening = SHARDS.map(|_| ReservedPort::new());
    let own = ReservedPort::new();
    let stores = clusters.iter().map(|cluster| &cluster.store);
    let stores = stores.chain(&listening);
    let mut arguments = vec![grpc(&own), "--query.replica-label=ruler".to_owned()];
    arguments.extend(stores.map(|port| format!("--endpoint={}", port.address())));
    let querier = thanos("query", arguments);
    let rulers = SHARDS.iter().zip(&listening).map(|(files, port)| {
        let address = port.address();
        let own = directory.join(address.port().to_string());
        let mut arguments = vec![
            grpc(port),
            format!("--query={}", querier.url()),
            format!("--data-dir={}", own.display()),
            format!("--label=ruler=\"{address}\""),
            "--eval-interval=5s".to_owned(),
        ];
        arguments.extend(paths(directory, files).map(|path| format!("--rule-file={path}")));
        thanos("rule", arguments)
    });
    let rulers = rulers.collect();
    (querier, rulers)
}

fn paths<'a>(directory: &Path, files: &'a [&str]) -> impl Iterator<Item = String> + use<'a> {
    let directory = directory.display().to_string();
    files.iter().map(move |file| format!("{directory}/{file}"))
}

#[test]
#[ignore = "needs a Thanos: tests/thanos.sh builds it and runs this"]
#[expect(clippy::print_stdout, reason = "by hand")]
fn rules_and_dashboards_hold_over_two_clusters() {
    let directory = tempfile::tempdir().unwrap();
    rules::write_impatient(directory.path());
    let rules: Vec<_> = paths(directory.path(), &SHARDS.concat()).collect();
    let clusters = phases(Path::new(CAPTURE))
        .into_iter()
        .map(|(place, slice)| {
            let (_, phase) = place.rsplit_once('/').unwrap();
            Cluster::start(phase, &slice, &rules)
        });
    let clusters: Vec<_> = clusters.collect();
    let (querier, _rulers) = querier_and_rulers(&clusters, directory.path());

    for cluster in &clusters {
        let matcher = format!("cluster=\"{}\"", cluster.name);
        wait_until(300, "one place evaluates what each cluster does", || {
            evaluated(&querier, &matcher) == evaluated(&cluster.itself, "")
        });
        let (records, firing) = evaluated(&cluster.itself, "");
        let series: usize = records.values().sum();
        println!(
            "{}: {series} series recorded of {} rules, firing: {firing:?}; the same by itself",
            cluster.name,
            records.len()
        );
    }
    for (name, dashboard) in dashboards::all() {
        let one = Shown {
            instance: "vllm-0:10860",
            target: "",
        };
        let shown = if name == "roofline" { one } else { ALL };
        let (mut all, mut answered) = (0, 0);
        for expression in dashboards::expressions(&dashboard) {
            let expression = resolved(expression, shown);
            let known = |by: &dyn QueryApi| !values(&by.query(&expression)).is_empty();
            let in_any = clusters.iter().any(|cluster| known(&cluster.itself));
            assert_eq!(known(&querier), in_any, "{name}: {expression}");
            (all, answered) = (all + 1, answered + usize::from(in_any));
        }
        println!("{name}: {all} queries, {answered} with data, as without Thanos");
    }
}
