//! Metric names by release: what is read from a page, what is missing, and its likely new name.

use vllm_roofline_exporter::exposition::ExpositionType;
use vllm_roofline_exporter::sample::metrics::{MetricName, MetricQuantity};

use super::releases::{Release, releases};
use super::server::Server;
use super::{read, steady};

fn missing(page: &str) -> Vec<(&'static str, Option<String>)> {
    let engines = read(page);
    let missing = engines[0].missing.iter();
    missing
        .map(|input| (input.metric, input.nearest.clone()))
        .collect()
}

#[test]
fn no_minor_version_lacks_an_input() {
    for minor in 6..=33 {
        let mut server = Server::new(minor, steady());
        server.run_until(1.0);
        let engines = read(&server.page());
        assert_eq!(engines[0].missing, [], "0.{minor}");
        assert_eq!(engines[0].key.engine, "0");
        assert_eq!(engines[0].kv_capacity_tokens(), Some(320_000.0));
    }
}

#[test]
fn an_unreadable_line_costs_itself() {
    let page = Server::new(32, steady()).page().replace(
        "vllm:num_requests_waiting{",
        "vllm:num_requests_waiting{bad=\"x\\",
    );
    assert_eq!(missing(&page), [("num_requests_waiting", None)]);
}

/// Ways in which vLLM has renamed metrics, or might rename them.
fn renamed(name: &str) -> Vec<String> {
    let (stem, total) = name
        .strip_suffix("_total")
        .map_or((name, ""), |stem| (stem, "_total"));
    let words: Vec<&str> = stem.split('_').collect();
    let (first, rest) = words.split_first().unwrap();
    let (last, most) = words.split_last().unwrap();
    vec![
        format!("engine_{stem}{total}"),
        format!("{}_{first}{total}", rest.join("_")),
        format!("{stem}_v2{total}"),
        format!("{}_{last}s{total}", most.join("_")),
    ]
}

/// On the whole page of every release that has the metric under its current name.
#[test]
fn a_renamed_metric_is_missing_with_its_nearest_name() {
    for Release { version, page } in releases() {
        let required =
            MetricQuantity::all().filter(|quantity| quantity.metric().required_for.is_some());
        for quantity in required {
            let name = quantity.metric().name.text;
            let both = quantity
                .metric()
                .names()
                .filter(|name| page.contains(&format!(":{}", name.text)));
            if both.count() != 1 || !page.contains(&format!("# TYPE vllm:{name} ")) {
                continue;
            }
            for other in renamed(name) {
                let page = page.replace(&format!("vllm:{name}"), &format!("vllm:{other}"));
                let expected = [(name, Some(format!("vllm:{other}")))];
                assert_eq!(missing(&page), expected, "{version}: {other}");
            }
        }
    }
}

/// If a metric is removed, no other vLLM metric is suggested for it.
#[test]
fn a_metric_that_is_gone_has_no_nearest_name() {
    for Release { version, page } in releases() {
        let required =
            MetricQuantity::all().filter(|quantity| quantity.metric().required_for.is_some());
        for quantity in required {
            let own: Vec<&str> = quantity.metric().names().map(|name| name.text).collect();
            let is_own = |line: &&str| {
                let rest = line
                    .trim_start_matches("# HELP ")
                    .trim_start_matches("# TYPE ");
                let name = rest.split(['{', ' ']).next().unwrap_or_default();
                let name = name.trim_start_matches("vllm:");
                let parts = [
                    name,
                    name.trim_end_matches("_bucket"),
                    name.trim_end_matches("_sum"),
                    name.trim_end_matches("_count"),
                ];
                quantity.kind() != ExpositionType::Untyped
                    && parts.iter().any(|part| own.contains(part))
            };
            let page: String = page
                .lines()
                .filter(|line| !is_own(line))
                .map(|line| line.to_owned() + "\n")
                .collect();
            assert_eq!(missing(&page), [(own[0], None)], "{version}");
        }
    }
}

/// Parses `(minor, patch)` of `0.10.2`, `0.9`.
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').skip(1).map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap_or(0))
}

/// The documented releases of a name are those whose logger writes it.
#[test]
fn every_name_is_on_the_pages_of_its_releases() {
    for quantity in MetricQuantity::all() {
        for MetricName {
            text,
            releases: stated,
        } in quantity
            .metric()
            .names()
            .filter(|name| !name.releases.is_empty())
        {
            let (from, to) = match stated.strip_suffix(" on") {
                Some(from) => (version(from), None),
                None => stated
                    .split_once(" to ")
                    .map(|(from, to)| (version(from), Some(version(to).0)))
                    .unwrap(),
            };
            for Release {
                version: release,
                page,
            } in releases().iter().filter(|release| !release.is_old_engine())
            {
                let now = version(release);
                let written = page.contains(&format!("# TYPE vllm:{text} "));
                let within = now >= from && to.is_none_or(|to| now.0 <= to);
                assert!(
                    within || !written,
                    "{text} is on the page of {release}, not only in {stated}"
                );
                // Removed names were hidden for one release before.
                assert!(
                    written || !within || to.is_some(),
                    "{text} is not on the page of {release}, which is in {stated}"
                );
            }
        }
    }
}

/// The names by release in docs/compatibility.md are those of the table.
#[test]
fn the_names_that_are_documented_are_those_that_are_read() {
    let document = std::fs::read_to_string("docs/compatibility.md").unwrap();
    for quantity in MetricQuantity::all() {
        for name in quantity
            .metric()
            .names()
            .filter(|name| !name.releases.is_empty())
        {
            let row = format!("| `{}` | {} |", name.text, name.releases);
            assert!(document.contains(&row), "{row}");
        }
    }
}
