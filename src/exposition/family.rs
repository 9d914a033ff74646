//! A whole page, grouped into families.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::error::{ErrorKind, ParseError, excerpt};
use super::labels::Labels;
use super::line::{ExpositionType, Line, Sample};
use super::{Lines, PageLimits};

/// A page as families, in the order of the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition<'a> {
    /// Families, including those without samples: an idle server has many.
    pub families: Vec<Family<'a>>,
}

/// Samples that share their metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Family<'a> {
    /// The name of its `# TYPE`, or of its samples if it has none.
    pub name: &'a str,
    /// The type from `# TYPE`, whatever the suffix of the name suggests.
    pub kind: ExpositionType,
    /// The text of `# HELP`.
    pub help: Option<Cow<'a, str>>,
    /// Its samples, in the order of the page.
    pub samples: Vec<Sample<'a>>,
}

impl<'a> Exposition<'a> {
    /// Parses `page` within the default [`PageLimits`]: everything that could be parsed, and all errors.
    #[must_use]
    pub fn parse(page: &'a str) -> (Self, Vec<ParseError>) {
        Self::parse_within(page, PageLimits::default())
    }

    /// The same with other limits.
    #[must_use]
    pub(crate) fn parse_within(page: &'a str, limits: PageLimits) -> (Self, Vec<ParseError>) {
        let mut builder = FamilyBuilder::default();
        let mut lines = Lines::new(page).within(limits);
        while let Some(line) = lines.next() {
            if let Err(error) = line.and_then(|line| {
                builder.add(line).map_err(|(kind, found)| ParseError {
                    line: lines.line,
                    column: 1,
                    kind,
                    found,
                })
            }) {
                builder.errors.push(error);
            }
        }
        (builder.page, builder.errors)
    }

    /// The family called `name`.
    #[must_use]
    pub fn family(&self, name: &str) -> Option<&Family<'a>> {
        self.families.iter().find(|family| family.name == name)
    }

    /// All samples.
    pub fn samples(&self) -> impl Iterator<Item = &Sample<'a>> {
        self.families.iter().flat_map(|family| &family.samples)
    }

    /// The value of the first sample called `name` that has all of `labels`.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples()
            .find(|sample| {
                sample.name == name
                    && labels
                        .iter()
                        .all(|(label, value)| sample.labels.get(label).as_deref() == Some(value))
            })
            .map(|sample| sample.value)
    }
}

/// A series, whatever the order of its labels.
type SeriesKey<'a> = (&'a str, Vec<(&'a str, Cow<'a, str>)>);

/// The error of a well-formed line, and the text found.
type Rejected = (ErrorKind, Box<str>);

#[derive(Default)]
struct FamilyBuilder<'a> {
    page: Exposition<'a>,
    errors: Vec<ParseError>,
    by_name: HashMap<&'a str, usize>,
    typed: HashSet<&'a str>,
    series: HashSet<SeriesKey<'a>>,
    current: usize,
}

impl<'a> FamilyBuilder<'a> {
    fn add(&mut self, line: Line<'a>) -> Result<(), Rejected> {
        match line {
            Line::Help { family, text } => self.enter(family).help = Some(text),
            Line::Type { family, kind } => {
                if !self.typed.insert(family) {
                    return Err((ErrorKind::DuplicateType, excerpt(family)));
                }
                self.enter(family).kind = kind;
            }
            Line::Sample(sample) => {
                let key = series_key(&sample)?;
                if !self.series.insert(key) {
                    return Err((ErrorKind::DuplicateSeries, excerpt(&series_name(&sample))));
                }
                self.home(sample.name).samples.push(sample);
            }
        }
        Ok(())
    }

    /// The family called `name`, created if necessary; the next samples probably belong to it.
    fn enter(&mut self, name: &'a str) -> &mut Family<'a> {
        let families = &mut self.page.families;
        self.current = *self.by_name.entry(name).or_insert_with(|| {
            families.push(Family {
                name,
                kind: ExpositionType::default(),
                help: None,
                samples: Vec::new(),
            });
            families.len() - 1
        });
        &mut families[self.current]
    }

    /// The family of a sample: the one with exactly its name, otherwise one whose type implies the suffix, otherwise a new one.
    fn home(&mut self, sample: &'a str) -> &mut Family<'a> {
        if self.by_name.contains_key(sample) {
            return self.enter(sample);
        }
        if self.current_owns(sample) {
            return &mut self.page.families[self.current];
        }
        self.enter(self.owner(sample).unwrap_or(sample))
    }

    fn current_owns(&self, sample: &str) -> bool {
        self.page
            .families
            .get(self.current)
            .is_some_and(|family| owns(family, sample))
    }

    fn owner(&self, sample: &'a str) -> Option<&'a str> {
        let (stem, _) = sample.rsplit_once('_')?;
        let family = &self.page.families[*self.by_name.get(stem)?];
        owns(family, sample).then_some(family.name)
    }
}

/// Whether `sample` is `family`'s name with a suffix of its type.
///
/// vLLM's OpenMetrics page writes `:` in metadata and `_` in samples, so the two are equivalent.
fn owns(family: &Family<'_>, sample: &str) -> bool {
    let same = |(ours, theirs): (u8, u8)| ours == theirs || (ours == b':' && theirs == b'_');
    sample
        .split_at_checked(family.name.len())
        .is_some_and(|(stem, suffix)| {
            family.name.bytes().zip(stem.bytes()).all(same)
                && suffixes(family.kind).contains(&suffix)
        })
}

const fn suffixes(kind: ExpositionType) -> &'static [&'static str] {
    match kind {
        ExpositionType::Counter => &["", "_total", "_created"],
        ExpositionType::Gauge | ExpositionType::Untyped | ExpositionType::StateSet => &[""],
        ExpositionType::Histogram => &["_bucket", "_sum", "_count", "_created"],
        ExpositionType::Summary => &["", "_sum", "_count", "_created"],
        ExpositionType::Info => &["_info"],
        ExpositionType::GaugeHistogram => &["_bucket", "_gsum", "_gcount"],
    }
}

fn series_key<'a>(sample: &Sample<'a>) -> Result<SeriesKey<'a>, Rejected> {
    let mut labels: Vec<_> = sample.labels.iter().collect();
    labels.sort_unstable();
    match labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err((ErrorKind::DuplicateLabel, excerpt(pair[0].0))),
        None => Ok((sample.name, labels)),
    }
}

fn series_name(sample: &Sample<'_>) -> String {
    let labels: Labels<'_> = sample.labels;
    format!("{}{labels}", sample.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `page` and compares its families (`name kind samples`), and the errors (`!`), with `expected`.
    #[track_caller]
    fn check(page: &str, expected: &[&str]) {
        let (exposition, errors) = Exposition::parse(page);
        let families = exposition.families.iter().map(|family| {
            let samples = family.samples.iter().map(|sample| sample.name);
            let names: Vec<_> = [family.name, family.kind.name()]
                .into_iter()
                .chain(samples)
                .collect();
            names.join(" ")
        });
        let errors = errors.iter().map(|error| format!("! {error}"));
        assert_eq!(families.chain(errors).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_type_is_trusted_over_the_suffix() {
        check(
            "# TYPE a_total histogram\na_total_bucket{le=\"+Inf\"} 1\na_total_sum 2\na_total_count 1\n# TYPE a_created gauge\na_created 5\n",
            &[
                "a_total histogram a_total_bucket a_total_sum a_total_count",
                "a_created gauge a_created",
            ],
        );
        check(
            "# TYPE a gauge\na_bucket 1\na 2\n",
            &["a gauge a", "a_bucket untyped a_bucket"],
        );
    }

    #[test]
    fn families_without_samples_or_metadata_are_kept() {
        check(
            "# HELP a b\n# TYPE a counter\n# HELP c d\ne 1\n",
            &["a counter", "c untyped", "e untyped e"],
        );
    }

    #[test]
    fn samples_come_home_from_anywhere() {
        check(
            "# TYPE a summary\n# TYPE b gauge\nb 1\na_sum 1\na_count 2\na{quantile=\"1\"} 3\nb{c=\"d\"} 4\n",
            &["a summary a_sum a_count a", "b gauge b b"],
        );
    }

    #[test]
    fn openmetrics_names_are_understood() {
        check(
            "# TYPE vllm:a counter\nvllm_a_total 1\nvllm_a_created 2\n# TYPE b info\nb_info 1\n# TYPE c gaugehistogram\nc_gsum 1\n# EOF\n",
            &[
                "vllm:a counter vllm_a_total vllm_a_created",
                "b info b_info",
                "c gaugehistogram c_gsum",
            ],
        );
    }

    #[test]
    fn nothing_stands_twice() {
        check(
            "a{b=\"c\",d=\"e\"} 1\na{d=\"e\",b=\"c\"} 2\na{d=\"e\", b=\"c\"} 3\na{b=\"c\"} 4\n",
            &[
                "a untyped a a",
                "! line 2, column 1: duplicate series, found `a{d=\"e\",b=\"c\"}`",
                "! line 3, column 1: duplicate series, found `a{d=\"e\",b=\"c\"}`",
            ],
        );
        check(
            "a{b=\"c\",b=\"d\"} 1\n",
            &["! line 1, column 1: duplicate label, found `b`"],
        );
        check(
            "# TYPE a gauge\n# TYPE a counter\n",
            &["a gauge", "! line 2, column 1: duplicate type, found `a`"],
        );
    }

    #[test]
    fn a_value_is_found_by_name_and_labels() {
        let (exposition, _) = Exposition::parse("a{b=\"c\",d=\"e\"} 1\na{b=\"f\"} 2\n");
        assert_eq!(exposition.value("a", &[("b", "f")]), Some(2.0));
        assert_eq!(exposition.value("a", &[("d", "e")]), Some(1.0));
        assert_eq!(exposition.value("a", &[("d", "f")]), None);
        assert_eq!(exposition.value("b", &[]), None);
    }
}
