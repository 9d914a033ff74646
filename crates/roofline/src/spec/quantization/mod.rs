//! `Quantization`: how a checkpoint stores each weight, and the compute precision of its matrix multiplications.
//!
//! Read from `quantization_config`, or from vLLM's `--quantization`. Bytes follow the storage format with its scales and zero points; the
//! compute ceiling follows the format of both operands in the multiplication.

mod modules;
mod scheme;

pub use scheme::{Arithmetic, Scheme};

use serde_json::{Map, Value};
use thiserror::Error;

use self::modules::Modules;

/// Why a quantisation cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuantizationError {
    /// An unknown method.
    #[error("quantisation method {method:?} is not known; known are {}", METHODS.join(", "))]
    UnknownMethod {
        /// The name given.
        method: String,
    },
    /// The configuration lacks a member that its method needs.
    #[error("quantization_config of method {method:?}: {problem}")]
    Incomplete {
        /// The method.
        method: String,
        /// The problem.
        problem: String,
    },
}

const METHODS: [&str; 12] = [
    "awq",
    "awq_marlin",
    "gptq",
    "gptq_marlin",
    "compressed-tensors",
    "fp8",
    "modelopt",
    "modelopt_fp4",
    "mxfp4",
    "bitsandbytes",
    "experts_int8",
    "int8",
];

/// The storage of all weights of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Quantization {
    method: Option<String>,
    groups: Vec<Group>,
    ignored: Modules,
    experts_only: bool,
    kv_cache_fp8: bool,
    static_activations: bool,
}

/// Modules that share a scheme.
#[derive(Clone, Debug)]
struct Group {
    /// Empty for all linear modules.
    targets: Modules,
    scheme: Scheme,
}

impl Quantization {
    /// Reads a checkpoint's configuration and vLLM's `--quantization`; the flag takes precedence where they name different methods.
    ///
    /// # Errors
    /// When the method is unknown or its configuration incomplete.
    pub fn read(config: Option<&Value>, flag: Option<&str>) -> Result<Self, QuantizationError> {
        match (config, flag) {
            (None, None) => Ok(Self::default()),
            (Some(config), None) => Self::from_config(config),
            (None, Some(flag)) => Self::from_flag(flag),
            (Some(config), Some(flag)) => {
                let stated = Self::from_config(config)?;
                let same = stated
                    .method
                    .as_deref()
                    .is_some_and(|method| same_method(method, flag));
                if same {
                    Ok(stated)
                } else {
                    Self::from_flag(flag)
                }
            }
        }
    }

    /// The method's name; `None` for unquantised weights.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// Whether the checkpoint has scales for an fp8 KV cache, which vLLM's `auto` then uses.
    #[must_use]
    pub(crate) const fn has_fp8_kv_cache(&self) -> bool {
        self.kv_cache_fp8
    }

    /// Whether the checkpoint has scales for activations. Otherwise they are computed at run time from each complete row.
    #[must_use]
    pub(crate) const fn has_static_activations(&self) -> bool {
        self.static_activations
    }

    /// How the weights of `module` of layer `layer` are stored; `None` for the model's own dtype.
    #[must_use]
    pub(crate) fn scheme_of(&self, layer: u64, module: &str) -> Option<Scheme> {
        if self.groups.is_empty() || (self.experts_only && !module.contains(".experts.")) {
            return None;
        }
        if self.ignored.hold(layer, module) {
            return None;
        }
        let meant = |group: &&Group| group.targets.is_empty() || group.targets.hold(layer, module);
        self.groups.iter().find(meant).map(|group| group.scheme)
    }

    /// How the LM head is stored; checkpoints leave it unquantised unless they say otherwise.
    #[must_use]
    pub(crate) fn head_scheme(&self) -> Option<Scheme> {
        let named = |group: &&Group| group.targets.hold_outside("lm_head");
        self.groups.iter().find(named).map(|group| group.scheme)
    }

    /// vLLM's defaults for a method that only the flag names.
    fn from_flag(flag: &str) -> Result<Self, QuantizationError> {
        let scheme = match flag.to_ascii_lowercase().as_str() {
            "none" | "" => return Ok(Self::default()),
            "awq" | "awq_marlin" | "gptq" | "gptq_marlin" | "marlin" | "compressed-tensors" => {
                Scheme::INT4_GROUP_128
            }
            "fp8" | "modelopt" | "ptpc_fp8" | "fbgemm_fp8" | "deepspeedfp" => {
                Scheme::Fp8 { block: None }
            }
            "modelopt_fp4" | "nvfp4" => Scheme::Nvfp4 { weight_only: false },
            "mxfp4" | "gpt_oss_mxfp4" => Scheme::Mxfp4,
            "bitsandbytes" => Scheme::Nf4 {
                double_quantized: false,
            },
            "int8" | "experts_int8" => Scheme::Int8 {
                weight_only: flag == "experts_int8",
            },
            _ => {
                return Err(QuantizationError::UnknownMethod {
                    method: flag.to_owned(),
                });
            }
        };
        Ok(Self {
            method: Some(flag.to_owned()),
            groups: vec![Group {
                targets: Modules::default(),
                scheme,
            }],
            experts_only: matches!(flag, "mxfp4" | "gpt_oss_mxfp4" | "experts_int8"),
            ..Self::default()
        })
    }

    fn from_config(config: &Value) -> Result<Self, QuantizationError> {
        let nested = config
            .get("quantization")
            .filter(|nested| nested.is_object());
        let settings = nested.unwrap_or(config);
        let method = text(settings, "quant_method")
            .or_else(|| text(config, "quant_method"))
            .or_else(|| text(settings, "quant_algo"))
            .unwrap_or_default()
            .to_ascii_lowercase();
        let groups = if let Some(listed) = listed_modules(settings) {
            listed_groups(listed, &method)?
        } else if settings.get("config_groups").is_some() {
            config_groups(settings, &method)?
        } else {
            vec![Group {
                targets: head_targets(settings),
                scheme: scheme_of_method(settings, &method)?,
            }]
        };
        Ok(Self {
            experts_only: method == "mxfp4",
            kv_cache_fp8: has_fp8_kv_cache(settings),
            static_activations: has_static_activations(settings, &method),
            ignored: ignored(settings),
            method: Some(method),
            groups,
        })
    }
}

/// `awq` and `awq_marlin` are one method with two kernels.
fn same_method(stated: &str, flag: &str) -> bool {
    let base = |name: &str| {
        let name = name.to_ascii_lowercase().replace('-', "_");
        name.trim_end_matches("_marlin")
            .trim_end_matches("_bitblas")
            .to_owned()
    };
    let (stated, flag) = (base(stated), base(flag));
    stated == flag
        || (stated.starts_with("modelopt") && flag.starts_with("modelopt"))
        || flag == "marlin"
}

/// `activation_scheme` of fp8 checkpoints, `input_activations.dynamic` of compressed-tensors; `ModelOpt` calibrates.
fn has_static_activations(settings: &Value, method: &str) -> bool {
    let groups = settings.get("config_groups").and_then(Value::as_object);
    let mut inputs = groups
        .into_iter()
        .flat_map(Map::values)
        .filter_map(|group| group.get("input_activations"));
    method.starts_with("modelopt")
        || text(settings, "activation_scheme") == Some("static")
        || inputs.any(|inputs| inputs.get("dynamic").and_then(Value::as_bool) == Some(false))
}

/// The modules that keep the model's dtype.
fn ignored(settings: &Value) -> Modules {
    let mut ignored = Modules::default();
    for name in [
        "ignore",
        "ignored_layers",
        "modules_to_not_convert",
        "llm_int8_skip_modules",
        "exclude_modules",
    ] {
        ignored.join(Modules::listed(settings.get(name)));
    }
    ignored
}

/// GPTQ's `lm_head: true` also quantises the head, in addition to all linear modules.
fn head_targets(settings: &Value) -> Modules {
    if settings.get("lm_head").and_then(Value::as_bool) == Some(true) {
        Modules::everything()
    } else {
        Modules::default()
    }
}

/// `ModelOpt`'s list of modules, each with its own algorithm.
fn listed_modules(settings: &Value) -> Option<&Map<String, Value>> {
    let listed = settings.get("quantized_layers")?.as_object()?;
    (!listed.is_empty()).then_some(listed)
}

/// One group per algorithm in a list of modules.
fn listed_groups(
    listed: &Map<String, Value>,
    method: &str,
) -> Result<Vec<Group>, QuantizationError> {
    let mut groups: Vec<(Scheme, Vec<&str>)> = Vec::new();
    for (module, settings) in listed {
        let scheme =
            scheme_of_algorithm(settings).ok_or_else(|| QuantizationError::Incomplete {
                method: method.to_owned(),
                problem: format!("quantized_layers.{module} has no known quant_algo"),
            })?;
        match groups.iter_mut().find(|(known, _)| *known == scheme) {
            Some((_, modules)) => modules.push(module),
            None => groups.push((scheme, vec![module])),
        }
    }
    let group = |(scheme, modules): (Scheme, Vec<&str>)| Group {
        targets: Modules::named(modules.into_iter()),
        scheme,
    };
    Ok(groups.into_iter().map(group).collect())
}

/// Methods with one scheme for all modules.
fn scheme_of_method(settings: &Value, method: &str) -> Result<Scheme, QuantizationError> {
    let incomplete = |problem: &str| QuantizationError::Incomplete {
        method: method.to_owned(),
        problem: problem.to_owned(),
    };
    let bits = settings
        .get("bits")
        .or_else(|| settings.get("w_bit"))
        .and_then(Value::as_f64);
    let group = settings
        .get("group_size")
        .or_else(|| settings.get("q_group_size"))
        .and_then(Value::as_f64);
    let is_true = |name: &str| settings.get(name).and_then(Value::as_bool) == Some(true);
    match method.trim_end_matches("_marlin") {
        "awq" | "gptq" | "auto-round" | "marlin" => Ok(Scheme::IntGroup {
            bits: bits.ok_or_else(|| incomplete("bits is missing"))?,
            group: group.unwrap_or(128.0),
            zero_points: method.starts_with("gptq")
                || settings
                    .get("zero_point")
                    .and_then(Value::as_bool)
                    .unwrap_or(true),
        }),
        "fp8" | "fbgemm_fp8" | "ptpc_fp8" | "modelopt" => Ok(scheme_of_algorithm(settings)
            .unwrap_or(Scheme::Fp8 {
                block: scheme::sizes(settings.get("weight_block_size")),
            })),
        "modelopt_fp4" | "nvfp4" => Ok(Scheme::Nvfp4 { weight_only: false }),
        "mxfp4" => Ok(Scheme::Mxfp4),
        "bitsandbytes" if is_true("load_in_8bit") => Ok(Scheme::Int8 { weight_only: true }),
        "bitsandbytes" => Ok(Scheme::Nf4 {
            double_quantized: is_true("bnb_4bit_use_double_quant"),
        }),
        "experts_int8" => Ok(Scheme::Int8 { weight_only: true }),
        "int8" | "w8a8_int8" => Ok(Scheme::Int8 { weight_only: false }),
        "" => Err(incomplete("quant_method is missing")),
        _ => scheme_of_algorithm(settings).ok_or_else(|| QuantizationError::UnknownMethod {
            method: method.to_owned(),
        }),
    }
}

/// `ModelOpt`'s `quant_algo`.
fn scheme_of_algorithm(settings: &Value) -> Option<Scheme> {
    let algorithm = text(settings, "quant_algo")?.to_ascii_uppercase();
    let group = settings
        .get("group_size")
        .and_then(Value::as_f64)
        .unwrap_or(128.0);
    match algorithm.as_str() {
        "FP8" | "FP8_PER_CHANNEL_PER_TOKEN" => Some(Scheme::Fp8 { block: None }),
        "FP8_PB_WO" | "FP8_BLOCK_SCALES" => Some(Scheme::Fp8 {
            block: Some((128.0, 128.0)),
        }),
        "NVFP4" | "W4A4_NVFP4" => Some(Scheme::Nvfp4 { weight_only: false }),
        "W4A16_NVFP4" | "NVFP4_AWQ" => Some(Scheme::Nvfp4 { weight_only: true }),
        "MXFP8" => Some(Scheme::Fp8 {
            block: Some((1.0, 32.0)),
        }),
        "W4A16_AWQ" | "W4A16" => Some(Scheme::IntGroup {
            bits: 4.0,
            group,
            zero_points: false,
        }),
        "INT8_SQ" | "W8A8_SQ_PER_CHANNEL" => Some(Scheme::Int8 { weight_only: false }),
        _ => None,
    }
}

/// compressed-tensors: groups of targets, each with the formats of its weights and activations.
fn config_groups(settings: &Value, method: &str) -> Result<Vec<Group>, QuantizationError> {
    let groups = settings.get("config_groups").and_then(Value::as_object);
    groups
        .into_iter()
        .flatten()
        .filter_map(|(name, group)| {
            let weights = group.get("weights").filter(|weights| weights.is_object())?;
            Some((name, group, weights))
        })
        .map(|(name, group, weights)| {
            let targets = Modules::listed(group.get("targets"));
            let all = targets.has_any_linear();
            Ok(Group {
                targets: if all { Modules::default() } else { targets },
                scheme: Scheme::of_tensors(weights, group.get("input_activations")).ok_or_else(
                    || QuantizationError::Incomplete {
                        method: method.to_owned(),
                        problem: format!("{name}.weights has no known num_bits and type"),
                    },
                )?,
            })
        })
        .collect()
}

fn has_fp8_kv_cache(settings: &Value) -> bool {
    let scheme = settings
        .get("kv_cache_scheme")
        .filter(|scheme| !scheme.is_null());
    let eight_bits =
        scheme.is_some_and(|scheme| scheme.get("num_bits").and_then(Value::as_u64) == Some(8));
    let algorithm = text(settings, "kv_cache_quant_algo");
    eight_bits || algorithm.is_some_and(|name| name.eq_ignore_ascii_case("FP8"))
}

fn text<'a>(settings: &'a Value, name: &str) -> Option<&'a str> {
    settings.get(name)?.as_str()
}

#[cfg(test)]
mod tests;
