//! The runbooks: every alert links to an existing section, and every page has commands that run unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use roofline::diagnosis::RemedyKind;
use serde_json::Value;

use crate::generate::names;
use crate::rules;

const RUNBOOKS: &str = "deploy/prometheus/runbooks";
const SECTIONS: [&str; 5] = [
    "Confirm",
    "Do",
    "See that it helped",
    "Do not",
    "False alarms",
];

/// Every page by its name without `.md`, except the index.
fn pages() -> BTreeMap<String, String> {
    std::fs::read_dir(RUNBOOKS)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let cause = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (cause, std::fs::read_to_string(path).unwrap())
        })
        .filter(|(cause, _)| cause != "README")
        .collect()
}

/// The sections of a page, each from its heading to the next.
fn sections(page: &str) -> BTreeMap<&str, &str> {
    page.split("\n## ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .collect()
}

/// The lines of its shell blocks.
fn commands(text: &str) -> Vec<&str> {
    text.split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .flat_map(str::lines)
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect()
}

/// The anchor that GitHub generates for a heading.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().replace(' ', "-")
}

#[test]
fn every_alert_leads_to_a_section_with_commands() {
    let pages = pages();
    for rule in rules::all() {
        let Some(alert) = &rule.alert else { continue };
        let severities = ["critical", "warning", "info"];
        assert!(
            severities.contains(&rule.labels["severity"].as_str()),
            "{alert}"
        );
        assert!(rule.annotations["summary"].ends_with('.'), "{alert}");
        assert!(
            rule.annotations["description"].contains("{{ $labels."),
            "{alert}"
        );
        let url = &rule.annotations["runbook_url"];
        let (page, section) = url.rsplit_once('#').unwrap();
        let cause = &rule.labels["cause"];
        assert!(
            page.ends_with(&format!("/{RUNBOOKS}/{cause}.md")),
            "{alert}: {url}"
        );
        let page = pages
            .get(cause)
            .unwrap_or_else(|| panic!("{alert}: there is no page {cause}"));
        let sections = sections(page);
        let named = sections
            .iter()
            .find(|(heading, _)| anchor(heading) == section);
        let (_, text) =
            named.unwrap_or_else(|| panic!("{alert}: {cause} has no section {section}"));
        assert!(
            !commands(text).is_empty(),
            "{alert}: {url} holds no command"
        );
    }
}

#[test]
fn every_page_says_how_to_confirm_what_to_run_and_how_to_see_that_it_helped() {
    let list = std::fs::read_to_string(format!("{RUNBOOKS}/README.md")).unwrap();
    for (cause, page) in pages() {
        assert!(
            list.contains(&format!("({cause}.md)")),
            "the list lacks {cause}"
        );
        let sections = sections(&page);
        for section in SECTIONS {
            assert!(
                sections.contains_key(section),
                "{cause} has no section {section}"
            );
        }
        for section in &SECTIONS[..3] {
            assert!(
                !commands(sections[section]).is_empty(),
                "{cause}: {section} holds no command"
            );
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let pages = pages();
    let list = std::fs::read_to_string(format!("{RUNBOOKS}/README.md")).unwrap();
    let linked: BTreeSet<_> = pages
        .values()
        .chain([&list])
        .flat_map(|page| page.split("](").skip(1))
        .filter_map(|link| link.split_once(".md)"))
        .map(|(page, _)| page)
        .collect();
    for page in linked {
        assert!(pages.contains_key(page), "{page}.md");
    }
}

#[test]
fn every_remedy_leads_to_a_page() {
    let list = std::fs::read_to_string(format!("{RUNBOOKS}/README.md")).unwrap();
    for remedy in RemedyKind::ALL {
        let row = format!("| `{}` |", remedy.as_str());
        let row = list.lines().find(|line| line.starts_with(&row));
        assert!(row.is_some_and(|row| row.contains(".md#do)")), "{remedy:?}");
    }
}

#[test]
fn queries_read_what_exists() {
    let pages = pages();
    let commands = pages.values().flat_map(|page| commands(page));
    let queries: Vec<_> = commands
        .filter(|command| command.starts_with("promtool query"))
        .map(|command| command.split('\'').nth(1).unwrap())
        .collect();
    assert!(queries.len() > 30, "{queries:?}");
    for query in queries {
        names::check(query).unwrap();
    }
}

#[test]
fn predictions_run_as_they_stand() {
    let pages = pages();
    let predictions: BTreeSet<_> = pages
        .values()
        .flat_map(|page| commands(page))
        .filter(|command| command.starts_with("vllm-roofline-exporter static "))
        .collect();
    assert!(predictions.len() > 5, "{predictions:?}");
    for command in predictions {
        let words = command.split(' ').skip(1).map(|word| match word {
            "\"$MODEL\"" => "tests/fixtures/captures/llama-3.1-8b-bf16/config.json",
            "\"$GPU\"" => "H100",
            word => word,
        });
        let output = Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
            .args(words)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
    }
}

const LONG_PROMPTS: &str = "--input-len 4096 --output-len 64 --batch 32";
const SHORT_PROMPTS: &str = "--input-len 128 --output-len 256";
const CROWD: &str = "--input-len 1500 --output-len 384 --batch 128";
/// Predictions change slightly whenever a coefficient is refined.
const STILL_TRUE: f64 = 0.1;

/// Effects stated in runbooks: the pages, the text, the load, and the change.
#[rustfmt::skip]
const STATED: [(&[&str], &str, &str, [&str; 2]); 17] = [
    (&["compute", "token-budget", "power-limit"], "490 → 840 tokens/s", LONG_PROMPTS, ["", "--quantization fp8"]),
    (&["compute", "token-budget"], "first token 540 → 290 ms", LONG_PROMPTS, ["", "--quantization fp8"]),
    (&["token-budget"], "490 → 490 tokens/s", LONG_PROMPTS, ["", "--max-num-batched-tokens 16384"]),
    (&["slow-output"], "output token 59 → 57 ms", LONG_PROMPTS, ["", "--max-num-batched-tokens 2048"]),
    (&["slow-output"], "first token 540 → 425 ms", LONG_PROMPTS, ["", "--max-num-batched-tokens 2048"]),
    (&["host", "overhead"], "50 → 150 tokens/s", SHORT_PROMPTS, ["--batch 1 --enforce-eager", "--batch 1"]),
    (&["host"], "output token 20 → 6.6 ms", SHORT_PROMPTS, ["--batch 1 --enforce-eager", "--batch 1"]),
    (&["memory-bandwidth"], "6.6 → 4.5 ms", SHORT_PROMPTS, ["--batch 1", "--batch 1 --quantization fp8"]),
    (&["kernel-latency"], "1,160 → 4,230 tokens/s", SHORT_PROMPTS, ["--batch 8", "--batch 32"]),
    (&["kernel-latency"], "output token 6.8 → 7.4 ms", SHORT_PROMPTS, ["--batch 8", "--batch 32"]),
    (&["memory-bandwidth", "max-num-seqs"], "1,160 → 7,470 tokens/s", SHORT_PROMPTS, ["--batch 8", "--batch 64"]),
    (&["memory-bandwidth", "max-num-seqs"], "output token 6.8 → 8.4 ms", SHORT_PROMPTS, ["--batch 8", "--batch 64"]),
    (&["slow-output"], "11,330 → 7,470 tokens/s", SHORT_PROMPTS, ["--batch 128", "--batch 64"]),
    (&["kv-capacity"], "2,700 → 4,250 tokens/s", CROWD, ["--gpu-memory-utilization 0.30", "--gpu-memory-utilization 0.92"]),
    (&["kv-capacity"], "first token 12,700 → 390 ms", CROWD, ["--gpu-memory-utilization 0.30", "--gpu-memory-utilization 0.92"]),
    (&["kv-capacity"], "2,700 → 3,570 tokens/s", CROWD, ["--gpu-memory-utilization 0.30", "--gpu-memory-utilization 0.30 --kv-cache-dtype fp8"]),
    (&["kv-capacity"], "2,700 → 4,760 tokens/s", CROWD, ["--gpu-memory-utilization 0.30", "--gpu-memory-utilization 0.30 --quantization fp8"]),
];

/// The two numbers around the arrow.
fn numbers(stated: &str) -> [f64; 2] {
    let (before, after) = stated.split_once(" → ").unwrap();
    let number = |word: &str| word.replace(',', "").parse().unwrap();
    let before = before.rsplit(' ').next().unwrap();
    [number(before), number(after.split(' ').next().unwrap())]
}

/// The prediction of `figure` for the load and the change of `arguments`.
fn predicted(figure: &str, arguments: &str) -> f64 {
    let model = "tests/fixtures/captures/llama-3.1-8b-bf16/config.json";
    let output = Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
        .args([
            "static", "--format", "json", "--gpu", "H100", "--model", model,
        ])
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["latency"][figure].as_f64().unwrap()
}

#[test]
fn effects_are_what_the_predictor_says() {
    let pages = pages();
    for (places, text, load, changes) in STATED {
        for page in places {
            assert!(pages[*page].contains(text), "{page} does not say {text}");
        }
        let (figure, unit) = match text {
            rate if rate.ends_with("tokens/s") => ("output_tokens_per_second_expected", 1.0),
            first if first.starts_with("first token") => ("ttft_expected_seconds", 1e3),
            _ => ("tpot_expected_seconds", 1e3),
        };
        for (number, change) in numbers(text).into_iter().zip(changes) {
            let now = unit * predicted(figure, &format!("{load} {change}"));
            assert!(
                (now / number - 1.0).abs() < STILL_TRUE,
                "{places:?}: {text}, {change}: {now} by now"
            );
        }
    }
}
