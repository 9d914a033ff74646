//! The exposition parser on real pages of vLLM and on artificial ones.

#![expect(
    clippy::float_cmp,
    reason = "vLLM counts in whole numbers, which floats hold exactly"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use vllm_roofline_exporter::exposition::{
    Exposition, ExpositionType, Line, Lines, Sample, escape_help, escape_label_value, utf8,
};

fn page(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/vllm")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const AFTER_LOAD: &str = "vllm-0.32.0-cpu-after-load.prom";
const OPENMETRICS: &str = "vllm-0.32.0-cpu-after-load.openmetrics.txt";
const SPECULATIVE: &str = "vllm-0.32.0-cpu-specdecode-ngram.prom";

/// Pages with their number of families and samples, and the sum of all values as `prometheus_client` 0.26 reads them.
const PAGES: [(&str, usize, usize, f64); 8] = [
    (AFTER_LOAD, 92, 490, 153_745_877_427.041_3),
    (OPENMETRICS, 54, 490, f64::NAN),
    (
        "vllm-0.32.0-cpu-api2-after-load.prom",
        44,
        360,
        46_528.340_416_677_65,
    ),
    ("vllm-0.32.0-cpu-api2-idle.prom", 40, 344, 2.0),
    ("vllm-0.32.0-cpu-dp2.prom", 44, 683, 41_916.191_316_545_75),
    ("vllm-0.32.0-cpu-idle.prom", 88, 415, 88_156_454_867.116_18),
    (
        "vllm-0.32.0-cpu-mfu-after-3-requests.prom",
        92,
        440,
        105_435_335_170.476_78,
    ),
    (SPECULATIVE, 100, 437, 107_833_440_175.127_06),
];

/// The content of each line, or its error.
fn described(text: &str) -> Vec<String> {
    Lines::new(text).map(|line| format!("{line:?}")).collect()
}

/// The same, with each line parsed as its own page.
fn described_alone(text: &str) -> Vec<String> {
    text.split('\n')
        .zip(1..)
        .flat_map(|(line, number)| {
            Lines::new(line).map(move |said| {
                format!(
                    "{:?}",
                    said.map_err(|mut error| {
                        error.line = number;
                        error
                    })
                )
            })
        })
        .collect()
}

#[test]
fn real_pages_are_read_whole() {
    for (name, families, samples, sum) in PAGES {
        let text = page(name);
        let (exposition, errors) = Exposition::parse(&text);
        assert_eq!(errors, [], "{name}");
        assert_eq!(exposition.families.len(), families, "{name}");
        assert_eq!(exposition.samples().count(), samples, "{name}");
        let read: f64 = exposition.samples().map(|sample| sample.value).sum();
        assert!(
            sum.is_nan() || (read - sum).abs() <= 1e-12 * sum,
            "{name}: {read}"
        );
    }
}

#[test]
fn no_line_of_a_real_page_depends_on_another() {
    for (name, ..) in PAGES {
        let text = page(name);
        assert_eq!(described(&text), described_alone(&text), "{name}");
    }
}

#[test]
fn a_real_page_printed_is_the_same_page() {
    for (name, ..) in PAGES {
        let text = page(name);
        let printed: String = Lines::new(&text)
            .map(|line| format!("{}\n", line.unwrap()))
            .collect();
        assert_eq!(described(&printed), described(&text), "{name}");
    }
}

#[test]
fn needed_samples_are_those_of_the_whole_page() {
    for (name, ..) in PAGES {
        let text = page(name);
        let (exposition, _) = Exposition::parse(&text);
        let mut needed: Vec<_> = exposition
            .samples()
            .map(|sample| Line::Sample(*sample).to_string())
            .collect();
        needed.retain(|sample| sample.starts_with("vllm"));
        let only: Vec<_> = Lines::new(&text)
            .only(&["vllm:", "vllm_"])
            .map(|line| line.unwrap().to_string())
            .collect();
        assert_eq!(only, needed, "{name}");
        assert!(only.len() > 300, "{name}");
    }
}

#[test]
fn both_formats_say_the_same() {
    let (text, openmetrics) = (page(AFTER_LOAD), page(OPENMETRICS));
    let ((text, _), (openmetrics, _)) = (Exposition::parse(&text), Exposition::parse(&openmetrics));
    let series = |exposition: &Exposition<'_>| -> BTreeSet<String> {
        let named =
            |sample: &Sample<'_>| format!("{}{}", sample.name.replace(':', "_"), sample.labels);
        exposition.samples().map(named).collect()
    };
    assert_eq!(series(&text), series(&openmetrics));
    let tokens = openmetrics.family("vllm:generation_tokens").unwrap();
    let names: Vec<_> = tokens.samples.iter().map(|sample| sample.name).collect();
    assert_eq!(tokens.kind, ExpositionType::Counter);
    assert_eq!(
        names,
        [
            "vllm_generation_tokens_total",
            "vllm_generation_tokens_created"
        ]
    );
}

#[test]
fn the_type_is_trusted_over_the_suffix() {
    let text = page(AFTER_LOAD);
    let (exposition, _) = Exposition::parse(&text);
    let iterations = exposition.family("vllm:iteration_tokens_total").unwrap();
    assert_eq!(iterations.kind, ExpositionType::Histogram);
    let named = |suffix| {
        iterations
            .samples
            .iter()
            .filter(|sample| sample.name.ends_with(suffix))
            .count()
    };
    assert_eq!(
        (named("_bucket"), named("_sum"), named("_count")),
        (14, 1, 1)
    );
    let created = exposition
        .family("vllm:iteration_tokens_total_created")
        .unwrap();
    assert_eq!(
        (created.kind, created.samples.len()),
        (ExpositionType::Gauge, 1)
    );
}

#[test]
fn values_and_labels_of_a_real_page() {
    let text = page(AFTER_LOAD);
    let (exposition, _) = Exposition::parse(&text);
    let value = |name| exposition.value(name, &[]);
    assert_eq!(
        value("process_start_time_seconds"),
        Some(1.795_485_743_57e9)
    );
    assert_eq!(
        value("vllm:estimated_flops_per_gpu_total"),
        Some(2.902_026_649_6e10)
    );
    assert_eq!(
        value("vllm:inter_token_latency_seconds_sum"),
        Some(2.354_439_058_000_252_8)
    );
    assert_eq!(
        exposition.value(
            "vllm:inter_token_latency_seconds_bucket",
            &[("le", "+Inf"), ("engine", "0")]
        ),
        Some(154.0)
    );
    let [cache] = exposition.family("vllm:cache_config_info").unwrap().samples[..] else {
        panic!("one engine has one cache");
    };
    assert_eq!(cache.labels.iter().count(), 37);
    assert_eq!(
        cache.labels.get("kv_cache_size_tokens").as_deref(),
        Some("524288")
    );
    assert_eq!(
        cache.labels.get("user_specified_block_size").as_deref(),
        Some("True")
    );
    assert_eq!(cache.labels.get("model_name"), None);
}

/// Identities of vLLM's counters on an idle server without aborts and preemptions.
#[test]
fn vllm_counters_add_up() {
    for (name, prompt, cached, generated, accepted) in [
        (AFTER_LOAD, 5024.0, 1728.0, 161.0, 0.0),
        (SPECULATIVE, 320.0, 0.0, 120.0, 44.0),
    ] {
        let text = page(name);
        let (exposition, _) = Exposition::parse(&text);
        let value = |name: &str| exposition.value(&format!("vllm:{name}"), &[]).unwrap();
        let from = |source| {
            exposition
                .value("vllm:prompt_tokens_by_source_total", &[("source", source)])
                .unwrap()
        };
        let sources = [
            from("local_compute"),
            from("local_cache_hit"),
            from("external_kv_transfer"),
        ];
        assert_eq!(sources, [prompt - cached, cached, 0.0], "{name}");
        assert_eq!(value("prompt_tokens_total"), prompt, "{name}");
        assert_eq!(value("prefix_cache_queries_total"), prompt, "{name}");
        assert_eq!(value("prefix_cache_hits_total"), cached, "{name}");
        assert_eq!(value("generation_tokens_total"), generated, "{name}");
        assert_eq!(
            value("iteration_tokens_total_sum"),
            from("local_compute") + generated,
            "{name}"
        );
        let outputs =
            value("time_to_first_token_seconds_count") + value("inter_token_latency_seconds_count");
        assert!(value("iteration_tokens_total_count") <= outputs, "{name}");
        // Tokens accepted beyond a request's limit are not emitted.
        assert!(
            (0.0..=2.0).contains(&(outputs + accepted - generated)),
            "{name}"
        );
    }
}

/// The meaning of a line, which can be written in many ways.
#[derive(Clone, Debug)]
enum Meant {
    Help(String, String),
    Type(String, ExpositionType),
    Sample(String, Vec<(String, String)>, Number, Option<i64>),
}

/// A value with its text.
#[derive(Clone, Debug)]
struct Number(f64, String);

/// A way to write a line; the meaning is the same.
#[derive(Clone, Copy, Debug)]
struct Style {
    blank: &'static str,
    comma: &'static str,
    end: &'static str,
}

impl Meant {
    fn write(&self, Style { blank, comma, end }: Style) -> String {
        let text = match self {
            Self::Help(family, help) => format!("#{blank}HELP {family} {}", escape_help(help)),
            Self::Type(family, kind) => format!("# TYPE{blank} {family} {kind}"),
            Self::Sample(name, labels, Number(_, number), timestamp) => {
                let labels: Vec<_> = labels
                    .iter()
                    .map(|(label, value)| {
                        format!("{label}{blank}=\"{}\"{blank}", escape_label_value(value))
                    })
                    .collect();
                let braced = if labels.is_empty() {
                    String::new()
                } else {
                    format!("{{{}{comma}", labels.join(","))
                };
                let timestamp =
                    timestamp.map_or(String::new(), |milliseconds| format!(" {milliseconds}"));
                format!("{blank}{name}{braced} {number}{blank}{timestamp}")
            }
        };
        text + end
    }

    fn is(&self, line: &Line<'_>) -> bool {
        match (self, line) {
            (Self::Help(name, help), Line::Help { family, text }) => name == family && help == text,
            (Self::Type(name, meant), Line::Type { family, kind }) => {
                name == family && meant == kind
            }
            (Self::Sample(name, labels, Number(value, _), timestamp), Line::Sample(sample)) => {
                let same_value = sample.value.to_bits() == value.to_bits()
                    || (sample.value.is_nan() && value.is_nan());
                let read = sample
                    .labels
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.into_owned()));
                let found = labels.iter().all(|(name, _)| {
                    let first = labels
                        .iter()
                        .find(|(other, _)| other == name)
                        .map(|(_, value)| value.as_str());
                    sample.labels.get(name).as_deref() == first
                });
                name == sample.name
                    && same_value
                    && read.eq(labels.iter().cloned())
                    && found
                    && *timestamp == sample.timestamp
            }
            _ => false,
        }
    }
}

fn kinds() -> impl Strategy<Value = ExpositionType> {
    prop::sample::select(vec![
        ExpositionType::Counter,
        ExpositionType::Gauge,
        ExpositionType::Histogram,
        ExpositionType::Summary,
        ExpositionType::Untyped,
        ExpositionType::Info,
        ExpositionType::StateSet,
        ExpositionType::GaugeHistogram,
    ])
}

fn numbers() -> impl Strategy<Value = Number> {
    let floats = prop_oneof![
        any::<f64>(),
        (-1e6..1e6),
        (0_u32..100_000).prop_map(f64::from)
    ];
    let written = (floats, 0..4).prop_map(|(value, form)| {
        let text = match form {
            _ if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
            0 => format!("{value}"),
            1 => format!("{value:?}"),
            2 => format!("{value:e}"),
            _ => format!("{value:E}")
                .replace('E', "e+")
                .replace("e+-", "e-0"),
        };
        Number(value, text)
    });
    let words = [
        ("NaN", f64::NAN),
        ("nan", f64::NAN),
        ("Inf", f64::INFINITY),
        ("+7", 7.0),
    ];
    prop_oneof![9 => written, 1 => prop::sample::select(words.map(|(word, value)| Number(value, word.to_owned())).to_vec())]
}

/// Names and labels use few letters, so that they often share prefixes with the previous line.
fn lines() -> impl Strategy<Value = Meant> {
    let name = || prop_oneof!["[ab:_]{1,3}", "[a-zA-Z_:][a-zA-Z0-9_:]{0,40}"];
    let label = (
        prop_oneof!["[ab_]{1,2}", "[a-zA-Z_][a-zA-Z0-9_]{0,20}"],
        prop_oneof!["[ab]{0,2}", "[\"\\\\\n\r{},= #é]{0,4}", any::<String>()],
    );
    let help = "[^ \t\r]([^\r]{0,30}[^\r])?";
    prop_oneof![
        1 => (name(), help).prop_map(|(name, help)| Meant::Help(name, help)),
        1 => (name(), kinds()).prop_map(|(name, kind)| Meant::Type(name, kind)),
        6 => (name(), vec(label, 0..6), numbers(), any::<Option<i64>>())
            .prop_map(|(name, labels, number, timestamp)| Meant::Sample(name, labels, number, timestamp)),
    ]
}

fn styles() -> impl Strategy<Value = Style> {
    let style = |blank, comma, end| Style { blank, comma, end };
    let written = prop::sample::select(vec!["", " ", "\t "]);
    let commas = prop::sample::select(vec!["}", ",}", ", }"]);
    let ends = prop::sample::select(vec!["\n", "\r\n", "\n\n# a comment\n", "\n \t\n"]);
    prop_oneof![1 => Just(style("", "}", "\n")), 1 => (written, commas, ends).prop_map(move |(blank, comma, end)| style(blank, comma, end))]
}

/// Fragments of pages in any order.
fn soup() -> impl Strategy<Value = String> {
    let crumbs = [
        "a", "vllm:", "_b1", "{", "}", "=\"", "\"", ",", "\\", "\\n", " ", "\t", "\n", "\r\n", "#",
        "# TYPE ", "# HELP ", "gauge", "1", "2.5e3", "+Inf", "é", "\u{0}",
    ];
    prop_oneof![
        any::<String>(),
        vec(prop::sample::select(crumbs.to_vec()), 0..60).prop_map(|crumbs| crumbs.concat())
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(written in vec((lines(), styles()), 0..12)) {
        let text: String = written.iter().map(|(meant, style)| meant.write(*style)).collect();
        let read: Vec<_> = Lines::new(&text).collect();
        prop_assert_eq!(read.len(), written.len(), "{}", text);
        for (line, (meant, _)) in read.iter().zip(&written) {
            prop_assert!(line.as_ref().is_ok_and(|line| meant.is(line)), "{:?} read as {:?}", meant, line);
        }
    }

    #[test]
    fn what_is_printed_is_read(written in vec((lines(), styles()), 0..12)) {
        let text: String = written.iter().map(|(meant, style)| meant.write(*style)).collect();
        let printed: String = Lines::new(&text).map(|line| format!("{}\n", line.unwrap())).collect();
        for (line, (meant, _)) in Lines::new(&printed).zip(&written) {
            prop_assert!(line.as_ref().is_ok_and(|line| meant.is(line)), "{:?} printed as {:?}", meant, printed);
        }
        prop_assert_eq!(Lines::new(&printed).count(), written.len());
    }

    #[test]
    fn any_text_is_read_line_by_line(text in soup()) {
        prop_assert_eq!(described(&text), described_alone(&text));
        for error in Lines::new(&text).filter_map(Result::err) {
            let line = text.split('\n').nth(error.line - 1).unwrap();
            prop_assert!((1..=line.len() + 1).contains(&error.column), "{}", error);
        }
        let (exposition, errors) = Exposition::parse(&text);
        let samples = Lines::new(&text).filter(|line| matches!(line, Ok(Line::Sample(_)))).count();
        prop_assert!(exposition.samples().count() + errors.len() >= samples);
    }

    #[test]
    fn only_takes_the_samples_with_the_prefix(text in soup()) {
        let all = Lines::new(&text).flatten().filter(|line| matches!(line, Line::Sample(_)));
        let needed: Vec<_> = all.map(|line| line.to_string()).filter(|line| line.starts_with("vllm:")).collect();
        let only: Vec<_> = Lines::new(&text).only(&["vllm:"]).flatten().map(|line| line.to_string()).collect();
        prop_assert_eq!(only, needed);
    }

    #[test]
    fn any_bytes_are_text_or_not(bytes in vec(any::<u8>(), 0..200)) {
        match (utf8(&bytes), std::str::from_utf8(&bytes)) {
            (Ok(text), Ok(right)) => prop_assert_eq!(text, right),
            (Err(error), Err(right)) => {
                let before = &bytes[..right.valid_up_to()];
                prop_assert_eq!(error.line, 1 + before.iter().filter(|byte| **byte == b'\n').count());
            }
            (ours, theirs) => prop_assert!(false, "{:?} but {:?}", ours, theirs),
        }
    }

    #[test]
    fn a_spoilt_line_spoils_no_other(page_index in 0..PAGES.len(), place in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), garbage in "[^\n]{0,12}") {
        let text = page(PAGES[page_index].0);
        let at = place.index(text.len());
        let line_start = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let line_end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        let kept = &text[line_start..line_start + cut.index(at - line_start + 1)];
        let spoilt = format!("{}{kept}{garbage}{}", &text[..line_start], &text[at..]);
        let behind = described(&text[line_end..]).len();
        let (whole, spoilt) = (described(&text), described(&spoilt));
        prop_assert_eq!(&spoilt[spoilt.len() - behind..], &whole[whole.len() - behind..]);
        let before = described(&text[..line_start]).len();
        prop_assert_eq!(&spoilt[..before], &whole[..before]);
        prop_assert!(spoilt.len() <= before + 1 + behind);
    }
}
