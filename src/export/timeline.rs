//! Families over time, as OpenMetrics text with timestamps, for `promtool tsdb create-blocks-from openmetrics`.

mod metric;

use std::collections::BTreeMap;
use std::io::{self, Write};

use prometheus::proto::{MetricFamily, MetricType};

use crate::exposition::{self, Exposition, ExpositionType, escape_help, escape_label_value};
use roofline::units::Seconds;

use self::metric::{MetricSeries, PlayedRounds, ValuePace};

/// Series over time, family by family.
#[derive(Debug, Default)]
pub(crate) struct SeriesTimeline {
    /// Labels added to every series, such as `job` and `instance`.
    labels: Vec<(String, String)>,
    families: BTreeMap<String, TimelineFamily>,
}

/// How a timeline is repeated over a longer period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// Unix time of the first point; the recorded time where there is none.
    pub start: Option<f64>,
    /// Number of repetitions.
    pub count: u32,
    /// Seconds between written points, like a scrape interval; 0 writes every recorded point.
    pub step: f64,
}

#[derive(Debug)]
struct TimelineFamily {
    kind: ExpositionType,
    is_own: bool,
    help: String,
    metrics: BTreeMap<String, MetricSeries>,
}

/// A value to be added to a timeline.
struct Value<'a> {
    name: &'a str,
    labels: &'a [(&'a str, &'a str)],
    value: f64,
}

impl SeriesTimeline {
    /// An empty timeline whose series will have `labels`.
    #[must_use]
    pub(crate) fn new(labels: Vec<(String, String)>) -> Self {
        Self {
            labels,
            families: BTreeMap::new(),
        }
    }

    /// Adds our own families at `time`.
    pub(crate) fn add_families(&mut self, time: Seconds, families: &[MetricFamily]) {
        for family in families {
            let counter = family.get_field_type() == MetricType::COUNTER;
            let kind = if counter {
                ExpositionType::Counter
            } else {
                ExpositionType::Gauge
            };
            let own = Home {
                name: family.name(),
                kind,
                help: family.help(),
                is_own: true,
            };
            for metric in family.get_metric() {
                let labels: Vec<_> = metric
                    .get_label()
                    .iter()
                    .map(|pair| (pair.name(), pair.value()))
                    .collect();
                let value = if counter {
                    metric.get_counter().get_value()
                } else {
                    metric.get_gauge().get_value()
                };
                let value = Value {
                    name: family.name(),
                    labels: &labels,
                    value,
                };
                self.add(time, own, &value);
            }
        }
    }

    /// Adds the samples of vLLM's page `body` whose type is known from `metadata`, a complete page of the same server: later bodies of a
    /// capture have no types. `_created` samples are left out: they are not measurements.
    pub(crate) fn add_page(&mut self, time: Seconds, body: &str, metadata: &Exposition<'_>) {
        let (page, _) = Exposition::parse(body);
        let engine = |sample: &&exposition::Sample<'_>| {
            let name = sample.name;
            (name.starts_with("vllm:") || name.starts_with("ray_vllm_"))
                && !name.ends_with("_created")
        };
        for sample in page.samples().filter(engine) {
            let Some(home) = home(sample.name, metadata) else {
                continue;
            };
            let labels: Vec<_> = sample.labels.iter().collect();
            let labels: Vec<_> = labels
                .iter()
                .map(|(name, value)| (*name, value.as_ref()))
                .collect();
            let value = Value {
                name: sample.name,
                labels: &labels,
                value: sample.value,
            };
            self.add(time, home, &value);
        }
    }

    fn add(&mut self, time: Seconds, home: Home<'_>, value: &Value<'_>) {
        let metric = self.text_of(value.labels.iter().filter(|(name, _)| *name != "le"));
        let series = format!("{}{}", value.name, self.text_of(value.labels.iter()));
        self.families
            .entry(home.name.to_owned())
            .or_insert_with(|| TimelineFamily {
                kind: home.kind,
                help: home.help.to_owned(),
                is_own: home.is_own,
                metrics: BTreeMap::new(),
            })
            .metrics
            .entry(metric)
            .or_default()
            .push(time.0, series, value.value);
    }

    fn text_of<'a>(&'a self, labels: impl Iterator<Item = &'a (&'a str, &'a str)>) -> String {
        let own = self
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: Vec<_> = labels
            .copied()
            .chain(own)
            .map(|(name, value)| format!("{name}=\"{}\"", escape_label_value(value)))
            .collect();
        if pairs.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", pairs.join(","))
        }
    }

    /// Writes the timeline, repeated as in `rounds`: the last moment of a round is the first of the next. Counters continue from round to
    /// round, and reset only where the recorded ones do. Terminated by `# EOF`.
    ///
    /// # Errors
    /// When writing to `out` fails.
    pub(crate) fn write(&self, rounds: &Rounds, out: &mut impl Write) -> io::Result<()> {
        let times = || {
            self.families
                .values()
                .flat_map(|family| family.metrics.values())
                .flat_map(|metric| &metric.points)
                .map(|point| point.time)
        };
        let first = times().fold(f64::INFINITY, f64::min);
        let last = times().fold(f64::NEG_INFINITY, f64::max);
        let shift = rounds.start.map_or(0.0, |start| start - first);
        let length = last - first;
        let shifts = (0..rounds.count).map(|round| shift + f64::from(round) * length);
        let played = PlayedRounds {
            first,
            shifts: shifts.collect(),
            step: rounds.step,
        };
        for (name, family) in &self.families {
            family.write_metadata(name, out)?;
            for metric in family.metrics.values() {
                metric.write(family.pace(name), &played, out)?;
            }
        }
        writeln!(out, "# EOF")
    }
}

impl TimelineFamily {
    fn pace(&self, name: &str) -> ValuePace {
        match self.kind {
            ExpositionType::Counter | ExpositionType::Histogram if self.is_own => {
                ValuePace::GrowsFromZero
            }
            ExpositionType::Counter | ExpositionType::Histogram => ValuePace::Grows,
            _ if name.ends_with("_timestamp_seconds") => ValuePace::Goes,
            _ => ValuePace::Repeats,
        }
    }

    /// A counter's family is named without its suffix `_total`.
    fn write_metadata(&self, name: &str, out: &mut impl Write) -> io::Result<()> {
        let (stem, kind) = match self.kind {
            ExpositionType::Counter => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            ExpositionType::Untyped => (name, "unknown"),
            other => (name, other.name()),
        };
        writeln!(out, "# TYPE {stem} {kind}")?;
        writeln!(out, "# HELP {stem} {}", escape_help(&self.help))
    }
}

/// The family of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Home<'a> {
    name: &'a str,
    kind: ExpositionType,
    help: &'a str,
    /// Whether it is of the exporter that plays the recording, rather than of the server that was recorded.
    is_own: bool,
}

/// The family in `metadata` of the sample `name`. On a page without TYPE lines, the kind follows from vLLM's known names.
fn home<'m>(name: &'m str, metadata: &'m Exposition<'_>) -> Option<Home<'m>> {
    let stem = PARTS.iter().find_map(|part| name.strip_suffix(part));
    let family = metadata.family(name).or_else(|| metadata.family(stem?))?;
    let (name, kind) = match family.kind {
        ExpositionType::Untyped => stem.map_or_else(
            || match name.ends_with("_total") {
                true => (name, ExpositionType::Counter),
                false => (name, ExpositionType::Gauge),
            },
            |stem| (stem, ExpositionType::Histogram),
        ),
        kind => (family.name, kind),
    };
    Some(Home {
        name,
        kind,
        help: family.help.as_deref().unwrap_or_default(),
        is_own: false,
    })
}

/// Suffixes of a histogram's samples.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP vllm:generation_tokens_total Tokens.\n# TYPE vllm:generation_tokens_total counter\n\
        vllm:generation_tokens_total{engine=\"0\"} 5\n# TYPE vllm:ttft histogram\nvllm:ttft_bucket{le=\"1.0\"} 1\n\
        vllm:ttft_bucket{le=\"+Inf\"} 2\nvllm:ttft_sum 3.5\nvllm:ttft_count 2\nvllm:ttft_created 1.7e9\n";

    fn text(rounds: &Rounds) -> String {
        let mut timeline = SeriesTimeline::new(vec![("job".to_owned(), "vllm".to_owned())]);
        let (metadata, _) = Exposition::parse(PAGE);
        timeline.add_page(Seconds(100.0), PAGE, &metadata);
        let later = "vllm:generation_tokens_total{engine=\"0\"} 8\nvllm:unheard_of 1\n";
        timeline.add_page(Seconds(101.0), later, &metadata);
        let mut out = Vec::new();
        timeline.write(rounds, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_family_stands_together_and_its_time_goes_on() {
        let rounds = Rounds {
            start: Some(1000.0),
            count: 2,
            step: 0.0,
        };
        let text = text(&rounds);
        let counter: Vec<_> = text
            .lines()
            .filter(|line| line.contains("generation"))
            .collect();
        assert_eq!(
            counter,
            [
                "# TYPE vllm:generation_tokens counter",
                "# HELP vllm:generation_tokens Tokens.",
                "vllm:generation_tokens_total{engine=\"0\",job=\"vllm\"} 5 1000.000",
                "vllm:generation_tokens_total{engine=\"0\",job=\"vllm\"} 8 1001.000",
                "vllm:generation_tokens_total{engine=\"0\",job=\"vllm\"} 11 1002.000",
            ]
        );
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn only_what_has_a_known_type_is_written() {
        let rounds = Rounds {
            start: None,
            count: 1,
            step: 0.0,
        };
        let text = text(&rounds);
        assert!(text.contains("# TYPE vllm:ttft histogram\n"));
        assert!(text.contains("vllm:ttft_bucket{le=\"+Inf\",job=\"vllm\"} 2 100.000\n"));
        assert!(!text.contains("_created") && !text.contains("unheard_of"));
    }

    /// The values of `series` when pages with `values` of it are played as in `rounds`, at one page per second.
    fn played(series: &str, values: &[f64], count: u32, step: f64) -> Vec<(f64, f64)> {
        let mut timeline = SeriesTimeline::new(Vec::new());
        for (second, value) in (0..).zip(values) {
            let page = format!("{series} {value}\n");
            let (metadata, _) = Exposition::parse(&page);
            timeline.add_page(Seconds(f64::from(second)), &page, &metadata);
        }
        let rounds = Rounds {
            start: Some(0.0),
            count,
            step,
        };
        points(&timeline, &rounds, series)
    }

    /// Time and value of every point of `series`.
    fn points(timeline: &SeriesTimeline, rounds: &Rounds, series: &str) -> Vec<(f64, f64)> {
        let mut out = Vec::new();
        timeline.write(rounds, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let number = |word: Option<&str>| word.unwrap().parse().unwrap();
        text.lines()
            .filter(|line| line.starts_with(series))
            .map(|line| {
                let mut words = line.split(' ').skip(1);
                let value = number(words.next());
                (number(words.next()), value)
            })
            .collect()
    }

    fn values(series: &str, recorded: &[f64], count: u32) -> Vec<f64> {
        let played = played(series, recorded, count, 0.0);
        played.into_iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn a_counter_without_a_type_goes_on_from_where_the_round_before_ended() {
        for series in ["vllm:generation_tokens_total", "vllm:ttft_count"] {
            assert_eq!(
                values(series, &[110.0, 115.0, 120.0], 3),
                [110.0, 115.0, 120.0, 125.0, 130.0, 135.0, 140.0]
            );
        }
        assert_eq!(
            values("vllm:num_requests_running", &[3.0, 1.0], 2),
            [3.0, 1.0, 1.0]
        );
    }

    #[test]
    fn a_counter_that_a_round_begins_without_counts_from_zero_in_it() {
        let mut timeline = SeriesTimeline::new(Vec::new());
        let late = "vllm:generation_tokens_total";
        for (second, page) in [
            (0.0, String::new()),
            (1.0, format!("{late} 4\n")),
            (2.0, format!("{late} 5\n")),
        ] {
            let page = format!("vllm:num_requests_running 1\n{page}");
            let (metadata, _) = Exposition::parse(&page);
            timeline.add_page(Seconds(second), &page, &metadata);
        }
        let rounds = Rounds {
            start: Some(0.0),
            count: 2,
            step: 0.0,
        };
        assert_eq!(
            points(&timeline, &rounds, late),
            [(1.0, 4.0), (2.0, 5.0), (3.0, 9.0), (4.0, 10.0)]
        );
    }

    #[test]
    fn a_restart_within_the_recording_is_the_only_place_where_a_counter_falls() {
        assert_eq!(
            values(
                "vllm:generation_tokens_total",
                &[100.0, 150.0, 0.0, 30.0],
                2
            ),
            [100.0, 150.0, 0.0, 30.0, 80.0, 0.0, 30.0]
        );
    }

    #[test]
    fn a_counter_does_not_fall_by_a_rounding_error() {
        let recorded = [0.1, 0.2, 0.7, 0.7 - 1e-15, 0.8];
        let played = values("vllm:generation_tokens_total", &recorded, 50);
        assert!(
            played.is_sorted_by(|before, after| before <= after),
            "{played:?}"
        );
    }

    #[test]
    fn points_are_written_as_often_as_a_scrape_takes_them() {
        assert_eq!(
            played("vllm:generation_tokens_total", &[10.0, 11.0, 12.0], 4, 4.0),
            [(0.0, 10.0), (4.0, 14.0), (8.0, 18.0)]
        );
    }
}
