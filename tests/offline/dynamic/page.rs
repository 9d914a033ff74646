//! The report: one page without external resources, with the numbers of the JSON.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dynamic::support::{Answer, CAPTURE, Desk, FIXTURES, MODEL, fixture};
use crate::tools::chromium;

/// A prediction, an analysis of a recording and one of other tools' results, and their report.
struct Made {
    desk: Desk,
    documents: BTreeMap<String, Value>,
    page: String,
}

/// Runs the command `line` and returns its output.
fn run(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let answer = Answer::of(&words);
    answer.end.unwrap();
    answer.out
}

fn made() -> Made {
    let desk = Desk::new();
    let load = "--batch 8 --input-len 64 --output-len 256";
    let predicted = run(&format!(
        "static --model {MODEL} --gpu H100 {load} --format json"
    ));
    let prediction = desk.write("static.json", &predicted);
    let (recorded, tools) = (desk.name("recorded.json"), desk.name("tools.json"));
    run(&format!(
        "dynamic --capture {CAPTURE} --static {prediction} --output {recorded}"
    ));
    let files = FIXTURES.map(fixture).join(" ");
    run(&format!(
        "dynamic --model {MODEL} --gpu H100 --output {tools} --results {files}"
    ));
    let page = desk.name("report.html");
    run(&format!(
        "report --static {prediction} --dynamic {recorded} {tools} --output {page}"
    ));
    let read = |name: &str| std::fs::read_to_string(desk.path(name)).unwrap();
    let documents = [
        ("static", "static.json"),
        ("0", "recorded.json"),
        ("1", "tools.json"),
    ];
    let parsed = documents.map(|(key, name)| {
        let document = serde_json::from_str(&read(name)).unwrap();
        (key.to_owned(), document)
    });
    Made {
        page: read("report.html"),
        documents: parsed.into(),
        desk,
    }
}

/// A number on the page: its JSON path, its exact value, and its text, empty in a chart.
struct Number<'a> {
    path: &'a str,
    value: f64,
    text: &'a str,
}

fn numbers(page: &str) -> Vec<Number<'_>> {
    let found = page.split("data-path=\"").skip(1).filter_map(|rest| {
        let (path, rest) = rest.split_once('"')?;
        let rest = rest.strip_prefix(" data-value=\"")?;
        let (value, rest) = rest.split_once('"')?;
        let text = rest
            .strip_prefix('>')
            .map_or("", |rest| rest.split('<').next().unwrap_or(""));
        Some(Number {
            path,
            value: value.parse().unwrap(),
            text,
        })
    });
    found.collect()
}

/// The value of a text such as `23.4 ms`, and half a unit of its last digit.
fn read(text: &str) -> (f64, f64) {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number = number.replace(',', "");
    let decimals = number
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    let scale = match unit.split(['F', 'B']).next().unwrap() {
        "µs" => 1e-6,
        "ms" => 1e-3,
        "%" => 1e-2,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Gi" => f64::from(1 << 30),
        "" | "s" | "W" | "J" | "MHz" => 1.0,
        other => panic!("unit {other} of {text}"),
    };
    let digit = 10_f64.powi(-i32::try_from(decimals).unwrap());
    (
        number.parse::<f64>().unwrap() * scale,
        0.500_001 * digit * scale,
    )
}

#[test]
fn every_number_on_the_page_is_the_jsons() {
    let made = made();
    let numbers = numbers(&made.page);
    let shown = numbers
        .iter()
        .filter(|number| !number.text.is_empty())
        .count();
    assert!(
        shown > 300 && numbers.len() > shown + 100,
        "{shown} of {}",
        numbers.len()
    );
    for Number { path, value, text } in numbers {
        let (document, pointer) = path.split_once(':').unwrap();
        let expected = made.documents[document]
            .pointer(pointer)
            .and_then(Value::as_f64);
        assert_eq!(Some(value), expected, "{path}");
        if !text.is_empty() {
            let (read, half_a_digit) = read(text);
            assert!(
                (read - value).abs() <= half_a_digit,
                "{path}: {text} is not {value}"
            );
        }
    }
}

#[test]
fn points_on_the_roofline_are_the_jsons() {
    let made = made();
    let points: Vec<&str> = made.page.split("<circle class=\"point").skip(1).collect();
    assert!(points.len() > 10);
    for point in points {
        let attribute = |name: &str| {
            point
                .split(&format!("{name}=\""))
                .nth(1)
                .and_then(|rest| rest.split('"').next())
        };
        let path = attribute("data-path").unwrap();
        let (document, pointer) = path.split_once(':').unwrap();
        let expected = made.documents[document].pointer(pointer).unwrap();
        for (name, key) in [
            ("data-intensity", "intensity"),
            ("data-flops", "flops_per_second"),
        ] {
            let drawn: f64 = attribute(name).unwrap().parse().unwrap();
            let expected = expected[key].as_f64().unwrap();
            assert!(
                (drawn / expected - 1.0).abs() < 1e-4,
                "{path}: {drawn} for {expected}"
            );
        }
    }
}

#[test]
fn the_page_needs_nothing_from_outside_and_no_script() {
    let page = made().page;
    for foreign in [
        "<script", "http://", "https://", "src=", "@import", "url(", "<iframe", "<object",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for wanted in [
        "@media print",
        "prefers-color-scheme: dark",
        "name=\"viewport\"",
        "class=\"heatmap\"",
        "class=\"curves\"",
        "class=\"roofline\"",
        "What worked",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
}

#[test]
fn names_from_files_do_no_harm() {
    let desk = Desk::new();
    let text = std::fs::read_to_string(fixture(FIXTURES[0])).unwrap();
    let text = text.replace(
        "\"label\": null",
        "\"label\": \"<img src=x onerror=alert(1)>\"",
    );
    let results = desk.write("results.json", &text);
    let (analysis, page) = (desk.name("dynamic.json"), desk.name("page.html"));
    Answer::of(&["dynamic", "--results", &results, "--output", &analysis])
        .end
        .unwrap();
    Answer::of(&["report", "--dynamic", &analysis, "--output", &page])
        .end
        .unwrap();
    let page = std::fs::read_to_string(page).unwrap();
    assert!(!page.contains("<img") && page.contains("&lt;img") || page.contains("&#60;img"));
}

/// The page in Chromium: the same numbers, and no request except the file itself.
#[test]
fn chromium_shows_it_and_asks_nobody() {
    let made = made();
    let log = made.desk.path("net.json");
    let output = chromium(&made.desk.path("profile"))
        .arg(format!("--log-net-log={}", log.display()))
        .arg(format!(
            "file://{}",
            made.desk.path("report.html").display()
        ))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let texts = |page: &str| -> Vec<(String, String)> {
        let numbers = numbers(page).into_iter();
        numbers
            .map(|number| (number.path.to_owned(), number.text.to_owned()))
            .collect()
    };
    assert_eq!(texts(&dom), texts(&made.page));
    let requests = std::fs::read_to_string(log).unwrap();
    let asked = requests
        .lines()
        .filter(|line| line.contains("\"url\":\"http") && line.contains("report.html"));
    assert_eq!(asked.count(), 0, "the page asked somebody");
}
