//! The first sentence of the verdict in every output: offline for a phase, live at one time.

use clap::Parser;
use roofline::units::Seconds;
use serde_json::Value;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::cli::{Cli, Command};
use vllm_roofline_exporter::command::diagnose::report as diagnosis;
use vllm_roofline_exporter::command::{dynamic, replay, report};
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::export::{snapshot_json, verdict_json};
use vllm_roofline_exporter::landing;
use vllm_roofline_exporter::player::CapturePlayer;
use vllm_roofline_exporter::snapshot::Snapshot;
use vllm_roofline_exporter::snapshot::memory::Memory;
use vllm_roofline_exporter::snapshot::take::SnapshotContext;
use vllm_roofline_exporter::top::app::App;
use vllm_roofline_exporter::top::screen;
use vllm_roofline_exporter::view;

/// A queue, a starved cache, host and kernel latency without a separating measurement, and a mix.
const RECORDINGS: [&str; 4] = [
    "tests/fixtures/captures/llama-2-7b-awq",
    "tests/fixtures/captures/llama-3.1-8b-kv-starved",
    "tests/fixtures/captures/qwen2.5-0.5b-bf16",
    "config/demo",
];

/// The output of the command line `words`.
fn printed(words: &[&str]) -> String {
    let line = ["vllm-roofline-exporter"].iter().chain(words);
    let mut out = Vec::new();
    match Cli::try_parse_from(line).unwrap().command {
        Command::Dynamic(args) => dynamic::run(&args, &mut out).unwrap(),
        Command::Replay(args) => replay::run(&args, &mut out).unwrap(),
        Command::Report(args) => report::run(&args, &mut out).unwrap(),
        other => panic!("{other:?}"),
    }
    String::from_utf8(out).unwrap()
}

/// The first sentences in `list`, by their subject's name.
fn sentences(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let sentence = |own: &Value| (text(&own["name"]), text(&own["verdict"][0]["finding"]));
    list.as_array().unwrap().iter().map(sentence).collect()
}

#[test]
fn offline_it_is_the_same_in_replay_dynamic_and_the_report() {
    let desk = tempfile::tempdir().unwrap();
    let file = |name: &str| desk.path().join(name).display().to_string();
    for capture in RECORDINGS {
        let replayed = printed(&["replay", "--capture", capture, "--format", "json"]);
        let replayed: Value = serde_json::from_str(&replayed).unwrap();
        let expected = sentences(&replayed["phases"]);
        assert!(!expected.is_empty());

        let (analysis, page) = (file("dynamic.json"), file("report.html"));
        let table = printed(&["dynamic", "--capture", capture, "--output", &analysis]);
        let written = std::fs::read_to_string(&analysis).unwrap();
        let written: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(sentences(&written["runs"]), expected, "{capture}");
        let rows = printed(&["replay", "--capture", capture]);
        printed(&["report", "--dynamic", &analysis, "--output", &page]);
        let page = std::fs::read_to_string(&page).unwrap();
        let (first_screen, _) = page.split_once("</section>").unwrap();
        for (name, sentence) in expected {
            assert!(rows.contains(&format!("{name}: {sentence}")), "{rows}");
            assert!(table.contains(&sentence), "{sentence}:\n{table}");
            assert!(first_screen.contains(&sentence), "{name}: {sentence}");
        }
    }
}

/// Text without the line breaks of a narrow screen.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn live_it_is_the_same_on_the_page_in_the_api_and_in_terminals() {
    let settings = Settings::defaults().unwrap();
    for capture in RECORDINGS {
        let recording = Capture::open(capture.as_ref()).unwrap();
        let player = CapturePlayer::new(&recording, &settings).unwrap();
        let mut memory = Memory::default();
        let mut compared = 0;
        player.watch(f64::NEG_INFINITY, f64::INFINITY, |meter, line, _| {
            let around = SnapshotContext {
                time: line.time(),
                vllm_url: settings.vllm_url.to_string(),
                sources: Vec::new(),
                reachable: true,
                reload: None,
                gpus_since: Seconds(f64::NEG_INFINITY),
            };
            let snapshot = Snapshot::take(meter, &mut memory, &settings, around);
            every_face_agrees(&snapshot, &settings);
            compared += 1;
        });
        assert!(compared > 20, "{capture}: {compared}");
    }
}

fn every_face_agrees(snapshot: &Snapshot, settings: &Settings) {
    let verdict = verdict_json::verdict(snapshot);
    let sentence = verdict["verdict"][0]["finding"].as_str().unwrap();

    let page = landing::page(Some(snapshot), settings).unwrap();
    let (_, headline) = page.split_once("class=\"headline").unwrap();
    let (headline, _) = headline.split_once("</p>").unwrap();
    assert!(headline.ends_with(&format!(">{sentence}")), "{headline}");

    let view: view::snapshot::SnapshotView =
        serde_json::from_value(snapshot_json::of(snapshot)).unwrap();
    let mut out = Vec::new();
    diagnosis::print(&view, &mut out).unwrap();
    let diagnosed = unwrapped(&String::from_utf8(out).unwrap());
    assert!(diagnosed.contains(sentence), "{sentence}: {diagnosed}");

    let mut app = App::default();
    app.take(Ok(view));
    let terminal = unwrapped(&screen::text(&app, 80, 24).join(" "));
    assert!(terminal.contains(sentence), "{sentence}: {terminal}");
}
