//! Families over time, as OpenMetrics text with timestamps: what `promtool tsdb create-blocks-from openmetrics` makes a database of.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use prometheus::proto::{MetricFamily, MetricType};

use crate::exposition::{self, Exposition, Kind, escape_help, escape_label_value};
use roofline::units::Seconds;

/// Series over time, family by family.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Labels that every series gets, such as `job` and `instance`.
    labels: Vec<(String, String)>,
    families: BTreeMap<String, Family>,
}

/// How a timeline is laid into a longer stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Unix time of the first point; the recorded time where there is none.
    pub start: Option<f64>,
    /// How often the timeline is played, one after the other.
    pub count: u32,
    /// Seconds from the last point of a round to the first of the next.
    pub pause: f64,
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: String,
    metrics: BTreeMap<String, Metric>,
}

/// The samples that share their labels but `le`, in the order of time: one after the other, never interleaved with those of another.
#[derive(Debug, Default)]
struct Metric {
    samples: Vec<Sample>,
    index: HashMap<String, usize>,
    points: Vec<Point>,
}

/// Name and labels of one series, and what it grows by in a round.
#[derive(Debug)]
struct Sample {
    series: String,
    first: f64,
    last: f64,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    time: f64,
    sample: usize,
    value: f64,
}

/// What becomes of a value from round to round.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// Grows by as much in each round.
    Grows,
    /// Is a moment, and goes with the time.
    Goes,
    /// Is the same again.
    Repeats,
}

/// A value on its way into a timeline.
struct Value<'a> {
    name: &'a str,
    labels: &'a [(&'a str, &'a str)],
    value: f64,
}

impl Timeline {
    /// An empty timeline, all of whose series will have `labels`.
    #[must_use]
    pub fn new(labels: Vec<(String, String)>) -> Self {
        Self {
            labels,
            families: BTreeMap::new(),
        }
    }

    /// Adds our own families as they were at `time`.
    pub fn add_families(&mut self, time: Seconds, families: &[MetricFamily]) {
        for family in families {
            let counter = family.get_field_type() == MetricType::COUNTER;
            let kind = if counter { Kind::Counter } else { Kind::Gauge };
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
                self.add(time, family.name(), kind, family.help(), &value);
            }
        }
    }

    /// Adds the samples of vLLM's page `body` whose type is known from `metadata`, a whole page of the same server: later bodies of a
    /// capture have none. The time at which a series was created says nothing of what it measures, and stays out.
    pub fn add_page(&mut self, time: Seconds, body: &str, metadata: &Exposition<'_>) {
        let (page, _) = Exposition::parse(body);
        let engine = |sample: &&exposition::Sample<'_>| {
            let name = sample.name;
            (name.starts_with("vllm:") || name.starts_with("ray_vllm_"))
                && !name.ends_with("_created")
        };
        for sample in page.samples().filter(engine) {
            let Some(family) = home(sample.name, metadata) else {
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
            let help = family.help.as_deref().unwrap_or_default();
            self.add(time, family.name, family.kind, help, &value);
        }
    }

    fn add(&mut self, time: Seconds, family: &str, kind: Kind, help: &str, value: &Value<'_>) {
        let metric = self.text_of(value.labels.iter().filter(|(name, _)| *name != "le"));
        let series = format!("{}{}", value.name, self.text_of(value.labels.iter()));
        self.families
            .entry(family.to_owned())
            .or_insert_with(|| Family {
                kind,
                help: help.to_owned(),
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

    /// Writes the timeline, played as `rounds` say; counters keep growing from round to round. Ended with `# EOF`.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn write(&self, rounds: &Rounds, out: &mut impl Write) -> io::Result<()> {
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
        let length = last - first + rounds.pause;
        for (name, family) in &self.families {
            family.write_metadata(name, out)?;
            for metric in family.metrics.values() {
                for round in 0..rounds.count {
                    let start = shift + f64::from(round) * length;
                    metric.write(family.pace(name), start, f64::from(round), out)?;
                }
            }
        }
        writeln!(out, "# EOF")
    }
}

impl Family {
    fn pace(&self, name: &str) -> Pace {
        match self.kind {
            Kind::Counter | Kind::Histogram => Pace::Grows,
            _ if name.ends_with("_timestamp_seconds") => Pace::Goes,
            _ => Pace::Repeats,
        }
    }

    /// A counter's family is named without its suffix `_total`.
    fn write_metadata(&self, name: &str, out: &mut impl Write) -> io::Result<()> {
        let (stem, kind) = match self.kind {
            Kind::Counter => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            Kind::Untyped => (name, "unknown"),
            other => (name, other.name()),
        };
        writeln!(out, "# TYPE {stem} {kind}")?;
        writeln!(out, "# HELP {stem} {}", escape_help(&self.help))
    }
}

impl Metric {
    fn push(&mut self, time: f64, series: String, value: f64) {
        let sample = *self.index.entry(series.clone()).or_insert_with(|| {
            self.samples.push(Sample {
                series,
                first: value,
                last: value,
            });
            self.samples.len() - 1
        });
        self.samples[sample].last = value;
        self.points.push(Point {
            time,
            sample,
            value,
        });
    }

    fn write(&self, pace: Pace, start: f64, round: f64, out: &mut impl Write) -> io::Result<()> {
        for point in &self.points {
            let sample = &self.samples[point.sample];
            let before = match pace {
                Pace::Grows => round * (sample.last - sample.first),
                Pace::Goes => start,
                Pace::Repeats => 0.0,
            };
            let time = point.time + start;
            let value = point.value + before;
            writeln!(out, "{} {value} {time:.3}", sample.series)?;
        }
        Ok(())
    }
}

/// The family in `metadata` of the sample called `name`.
fn home<'m, 'a>(name: &str, metadata: &'m Exposition<'a>) -> Option<&'m exposition::Family<'a>> {
    metadata.family(name).or_else(|| {
        ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find_map(|stem| metadata.family(stem))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP vllm:generation_tokens_total Tokens.\n# TYPE vllm:generation_tokens_total counter\n\
        vllm:generation_tokens_total{engine=\"0\"} 5\n# TYPE vllm:ttft histogram\nvllm:ttft_bucket{le=\"1.0\"} 1\n\
        vllm:ttft_bucket{le=\"+Inf\"} 2\nvllm:ttft_sum 3.5\nvllm:ttft_count 2\nvllm:ttft_created 1.7e9\n";

    fn text(rounds: &Rounds) -> String {
        let mut timeline = Timeline::new(vec![("job".to_owned(), "vllm".to_owned())]);
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
            pause: 1.0,
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
                "vllm:generation_tokens_total{engine=\"0\",job=\"vllm\"} 8 1002.000",
                "vllm:generation_tokens_total{engine=\"0\",job=\"vllm\"} 11 1003.000",
            ]
        );
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn only_what_has_a_known_type_is_written() {
        let rounds = Rounds {
            start: None,
            count: 1,
            pause: 1.0,
        };
        let text = text(&rounds);
        assert!(text.contains("# TYPE vllm:ttft histogram\n"));
        assert!(text.contains("vllm:ttft_bucket{le=\"+Inf\",job=\"vllm\"} 2 100.000\n"));
        assert!(!text.contains("_created") && !text.contains("unheard_of"));
    }
}
