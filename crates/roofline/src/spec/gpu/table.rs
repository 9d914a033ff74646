//! `GpuTable`: the embedded GPUs plus the user's, looked up by id, alias or product name.

use regex_lite::Regex;
use thiserror::Error;

use super::file::{GpuEntry, GpuFile};
use super::{GpuProvenance, GpuSpec};

const EMBEDDED: &str = include_str!("../../../data/gpus.yaml");

/// Why a GPU table cannot be used.
#[derive(Debug, Error)]
pub enum GpuTableError {
    /// The text is not YAML of the expected form.
    #[error("the GPU table does not parse: {0}")]
    Parse(String),
    /// An entry is incomplete or invalid.
    #[error("GPU table entry {id}: {problem}")]
    Invalid {
        /// Id of the entry.
        id: String,
        /// The problem.
        problem: String,
    },
}

/// Why a name does not identify one GPU.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GpuLookupError {
    /// No GPU has this name.
    #[error("unknown GPU {name:?}; {}", suggestion(candidates))]
    Unknown {
        /// The requested name.
        name: String,
        /// Similar ids.
        candidates: Vec<String>,
    },
    /// Several GPUs match.
    #[error("GPU {name:?} is ambiguous: say which of {}", candidates.join(", "))]
    Ambiguous {
        /// The requested name.
        name: String,
        /// Ids of the matching GPUs.
        candidates: Vec<String>,
    },
}

fn suggestion(candidates: &[String]) -> String {
    if candidates.is_empty() {
        "see `gpus` for those known, or add it to a GPU table of your own".to_owned()
    } else {
        format!("did you mean {}?", candidates.join(", "))
    }
}

/// All known GPUs.
#[derive(Clone, Debug)]
pub struct GpuTable {
    rows: Vec<GpuRow>,
}

#[derive(Clone, Debug)]
struct GpuRow {
    entry: GpuEntry,
    spec: GpuSpec,
}

impl GpuTable {
    /// The embedded table.
    ///
    /// # Errors
    /// Never with the embedded file; a test parses it.
    pub fn embedded() -> Result<Self, GpuTableError> {
        let rows = parse(EMBEDDED)?
            .gpus
            .into_iter()
            .map(|entry| GpuRow::new(entry, GpuProvenance::Table))
            .collect::<Result<_, _>>()?;
        Ok(Self { rows })
    }

    /// This table with the entries of a user's `yaml` added; an entry with a known id overrides the fields that it sets.
    ///
    /// # Errors
    /// When the text is not a GPU table, or an entry is incomplete after merging.
    pub fn with_overrides(mut self, yaml: &str) -> Result<Self, GpuTableError> {
        for over in parse(yaml)?.gpus {
            match self.rows.iter_mut().find(|row| row.entry.id == over.id) {
                Some(row) => {
                    *row = GpuRow::new(row.entry.clone().overridden_by(over), GpuProvenance::User)?;
                }
                None => self.rows.push(GpuRow::new(over, GpuProvenance::User)?),
            }
        }
        Ok(self)
    }

    /// All GPUs, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &GpuSpec> {
        self.rows.iter().map(|row| &row.spec)
    }

    /// Finds a GPU by id, alias, NVML product name or a unique part of its id.
    ///
    /// # Errors
    /// When no GPU or more than one matches, with the candidates.
    pub fn find(&self, name: &str) -> Result<&GpuSpec, GpuLookupError> {
        let wanted = squeezed(name);
        if let Some(row) = self.rows.iter().find(|row| row.is_called(&wanted)) {
            return Ok(&row.spec);
        }
        let product = normalised_product(name);
        if let Some(row) = self.rows.iter().find(|row| row.matches_product(&product)) {
            return Ok(&row.spec);
        }
        let kin: Vec<&GpuSpec> = self
            .rows
            .iter()
            .filter(|row| row.has_all_words_of(&product))
            .map(|row| &row.spec)
            .collect();
        match kin.as_slice() {
            [only] => Ok(only),
            [] => Err(GpuLookupError::Unknown {
                name: name.to_owned(),
                candidates: self.near(&wanted),
            }),
            several => Err(GpuLookupError::Ambiguous {
                name: name.to_owned(),
                candidates: several.iter().map(|spec| spec.id.clone()).collect(),
            }),
        }
    }

    /// Ids that share the longest prefix with `wanted`, at least two characters.
    fn near(&self, wanted: &str) -> Vec<String> {
        let wanted = wanted.strip_prefix("nvidia").unwrap_or(wanted);
        let shared = |row: &GpuRow| {
            let id = squeezed(&row.spec.id);
            wanted
                .chars()
                .zip(id.chars())
                .take_while(|(left, right)| left == right)
                .count()
        };
        let longest = self.rows.iter().map(shared).max().unwrap_or(0);
        self.rows
            .iter()
            .filter(|row| longest >= 2 && shared(row) == longest)
            .map(|row| row.spec.id.clone())
            .collect()
    }
}

impl GpuRow {
    fn new(entry: GpuEntry, provenance: GpuProvenance) -> Result<Self, GpuTableError> {
        let spec = entry.spec(provenance)?;
        Ok(Self { entry, spec })
    }

    fn is_called(&self, wanted: &str) -> bool {
        let aliases = self.entry.aliases.iter().flatten();
        let names = self.entry.names.iter().flatten();
        squeezed(&self.entry.id) == wanted
            || aliases.chain(names).any(|alias| squeezed(alias) == wanted)
    }

    fn matches_product(&self, product: &str) -> bool {
        let pattern = self.entry.r#match.as_deref().map(Regex::new);
        pattern.is_some_and(|pattern| pattern.is_ok_and(|pattern| pattern.is_match(product)))
    }

    /// Whether every word of `product` is a word of this id or of one of its names.
    fn has_all_words_of(&self, product: &str) -> bool {
        let known = normalised_product(&format!(
            "{} {}",
            self.entry.id,
            self.entry
                .names
                .iter()
                .flatten()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" ")
        ));
        let mut words = product
            .split(' ')
            .filter(|word| *word != "nvidia")
            .peekable();
        words.peek().is_some() && words.all(|word| known.split(' ').any(|other| other == word))
    }
}

fn parse(yaml: &str) -> Result<GpuFile, GpuTableError> {
    serde_saphyr::from_str(yaml).map_err(|error| GpuTableError::Parse(error.to_string()))
}

/// Lower case, letters and digits only.
fn squeezed(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// Lower case; spaces, `-` and `_` become one space; a trailing ` mig …` is removed.
fn normalised_product(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let words: Vec<&str> = lower
        .split(|letter: char| letter.is_whitespace() || letter == '-' || letter == '_')
        .filter(|word| !word.is_empty())
        .take_while(|word| *word != "mig")
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::precision::Precision;

    fn table() -> GpuTable {
        GpuTable::embedded().expect("the embedded table parses")
    }

    fn check(name: &str, id: &str) {
        assert_eq!(
            table().find(name).map(|gpu| gpu.id.as_str()),
            Ok(id),
            "{name}"
        );
    }

    #[test]
    fn every_peak_is_sms_times_rate_times_clock() {
        for row in table().rows {
            let entry = &row.entry;
            let (Some(sms), Some(rates), Some(peaks)) = (
                entry.sm_count,
                &entry.flop_per_clock_per_sm,
                &entry.peak_tflops,
            ) else {
                continue;
            };
            let clocks = [entry.boost_clock_mhz, entry.max_sm_clock_mhz];
            for (precision, peak) in peaks {
                let Some(rate) = rates.get(precision) else {
                    continue;
                };
                let agrees = clocks.into_iter().flatten().any(|clock| {
                    let computed = f64::from(sms) * rate * clock * 1e6 / 1e12;
                    (computed / peak - 1.0).abs() <= 0.02
                });
                assert!(agrees, "{}: {precision} {peak} TFLOP/s", entry.id);
            }
        }
    }

    #[test]
    fn names_that_people_type_are_found() {
        for (name, id) in [
            ("h100-sxm5-80gb", "h100-sxm5-80gb"),
            ("H100", "h100-sxm5-80gb"),
            ("H100-SXM", "h100-sxm5-80gb"),
            ("h200", "h200-sxm-141gb"),
            ("H200-SXM", "h200-sxm-141gb"),
            ("B200-SXM", "b200-sxm-180gb"),
            ("B200", "b200-sxm-180gb"),
            ("T4", "t4"),
            ("L4", "l4"),
            ("L40S", "l40s"),
            ("L40", "l40"),
            ("A10", "a10"),
            ("A10G", "a10g"),
            ("A100-80GB", "a100-sxm4-80gb"),
            ("A100-80GB-SXM", "a100-sxm4-80gb"),
            ("A100-80GB-PCIe", "a100-pcie-80gb"),
            ("RTX4090", "rtx-4090"),
            ("RTX 4090", "rtx-4090"),
            ("MI300X", "mi300x"),
            ("GH200 480GB", "gh200-96gb"),
        ] {
            check(name, id);
        }
    }

    #[test]
    fn product_names_of_the_driver_are_found() {
        for (name, id) in [
            ("NVIDIA H100 80GB HBM3", "h100-sxm5-80gb"),
            ("NVIDIA-H100-80GB-HBM3", "h100-sxm5-80gb"),
            ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "h100-sxm5-80gb"),
            ("NVIDIA H100 PCIe", "h100-pcie-80gb"),
            ("NVIDIA H200", "h200-sxm-141gb"),
            ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
            ("Tesla T4", "t4"),
            ("NVIDIA GeForce RTX 4090", "rtx-4090"),
            ("NVIDIA GeForce RTX 4090 D", "rtx-4090-d"),
            ("Tesla V100-SXM3-32GB", "v100-sxm2-32gb"),
        ] {
            check(name, id);
        }
    }

    #[test]
    fn every_shipped_name_and_pattern_leads_to_its_own_entry() {
        let table = table();
        for row in &table.rows {
            for name in row
                .entry
                .names
                .iter()
                .flatten()
                .filter(|name| !name.starts_with('('))
            {
                assert_eq!(
                    table.find(name).map(|gpu| &gpu.id),
                    Ok(&row.entry.id),
                    "{name}"
                );
                let hits = table
                    .rows
                    .iter()
                    .filter(|other| other.matches_product(&normalised_product(name)));
                assert_eq!(hits.count(), 1, "{name}");
            }
            if let Some(pattern) = &row.entry.r#match {
                assert!(Regex::new(pattern).is_ok(), "{pattern}");
            }
        }
        assert_eq!(table.iter().count(), 65);
    }

    #[test]
    fn ambiguous_and_unknown_names_list_candidates() {
        let ambiguous = table().find("A100").expect_err("several");
        let GpuLookupError::Ambiguous { candidates, .. } = &ambiguous else {
            panic!("{ambiguous}");
        };
        assert!(candidates.contains(&"a100-pcie-40gb".to_owned()));
        let unknown = table().find("H1000").expect_err("none").to_string();
        assert!(unknown.contains("h100-sxm5-80gb"), "{unknown}");
        assert!(
            table()
                .find("quantum")
                .expect_err("none")
                .to_string()
                .contains("`gpus`")
        );
        assert!(table().find("").is_err());
    }

    #[test]
    fn users_override_single_fields_and_add_entries() {
        let yaml = "
gpus:
  - id: t4
    memory_bandwidth_gbs: 300
  - id: my-gpu
    peak_tflops: { bf16: 100 }
    memory_bandwidth_gbs: 1000
    memory_mib: 1024
";
        let table = table().with_overrides(yaml).expect("valid");
        let t4 = table.find("T4").expect("known");
        assert!((t4.hbm_bandwidth.0 - 300e9).abs() < 1.0);
        assert_eq!(t4.provenance, GpuProvenance::User);
        assert!((t4.peak(Precision::Fp16).expect("kept").0 - 65e12).abs() < 1.0);
        assert!((table.find("my-gpu").expect("added").memory.0 - 1_073_741_824.0).abs() < 1.0);
    }

    #[test]
    fn incomplete_entries_name_what_they_lack() {
        let error = table().with_overrides("gpus: [{ id: x, memory_bandwidth_gbs: 1 }]");
        assert_eq!(
            error.expect_err("incomplete").to_string(),
            "GPU table entry x: peak_tflops is missing"
        );
        let error = table().with_overrides("gpus: [{ id: t4, peak_tflops: { fp99: 1 } }]");
        assert_eq!(
            error.expect_err("nonsense").to_string(),
            "GPU table entry t4: unknown precision \"fp99\""
        );
        assert!(
            table()
                .with_overrides("gpus: [{ id: t4, colour: red }]")
                .is_err()
        );
    }
}
