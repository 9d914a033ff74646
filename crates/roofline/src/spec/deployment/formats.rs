//! The dtype of activations and the format of the KV cache, as vLLM resolves `auto`.

use super::DeploymentError;
use crate::spec::gpu::GpuSpec;
use crate::spec::model::ModelSpec;
use crate::spec::precision::Precision;
use crate::spec::quantization::Quantization;

/// dtype of activations: the flag, otherwise the checkpoint's; `auto` narrows fp32, and avoids bf16 where the GPU does not support it.
pub(super) fn activation_dtype(
    model: &ModelSpec,
    gpu: Option<&GpuSpec>,
    flag: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Precision, DeploymentError> {
    let has_bf16 = gpu.is_none_or(|gpu| gpu.peak(Precision::Bf16).is_some());
    let preferred = if has_bf16 {
        Precision::Bf16
    } else {
        Precision::Fp16
    };
    match flag {
        None | Some("auto") => {
            Ok(match model.dtype {
                Some(Precision::Bf16) if !has_bf16 => {
                    notes.push("this GPU has no bf16: predicted in float16, as vLLM's --dtype auto falls back".to_owned());
                    Precision::Fp16
                }
                Some(Precision::Fp32) | None => preferred,
                Some(dtype) => dtype,
            })
        }
        Some(name) => {
            let dtype =
                Precision::from_torch_name(name).ok_or_else(|| DeploymentError::BadFlag {
                    flag: "--dtype",
                    value: name.to_owned(),
                    problem: "must be auto, half, float16, bfloat16, float or float32".to_owned(),
                })?;
            match gpu {
                Some(gpu) if gpu.peak(dtype).is_none() => Err(DeploymentError::Unsupported {
                    gpu: gpu.name.clone(),
                    what: format!("{dtype} activations"),
                    remedy: "--dtype half".to_owned(),
                }),
                _ => Ok(dtype),
            }
        }
    }
}

/// How keys and values are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct KvCacheFormat {
    /// The name as vLLM's flag spells it, `auto` resolved.
    pub name: String,
    /// Bytes per element, scales included.
    pub bytes_per_element: f64,
}

impl KvCacheFormat {
    /// The flag's format; `auto` follows the checkpoint's scales, otherwise the activations' dtype.
    pub(super) fn read(
        flag: Option<&str>,
        quantization: &Quantization,
        dtype: Precision,
    ) -> Result<Self, DeploymentError> {
        let name = match flag {
            None | Some("auto") if quantization.has_fp8_kv_cache() => "fp8",
            None | Some("auto") => dtype.name(),
            Some(name) => name,
        };
        let bytes_per_element = match name {
            "fp8" | "fp8_e4m3" | "fp8_e5m2" | "fp8_inc" => 1.0,
            "fp8_ds_mla" => 656.0 / 576.0,
            "nvfp4" => 0.5625,
            _ if name.starts_with("int8") => 1.0,
            _ if name.starts_with("int4") => 0.5,
            _ => Precision::from_torch_name(name).map(Precision::bytes).ok_or_else(|| DeploymentError::BadFlag {
                flag: "--kv-cache-dtype",
                value: name.to_owned(),
                problem: "must be auto, bfloat16, float16, fp8, fp8_e4m3, fp8_e5m2, fp8_ds_mla, nvfp4, int8 or int4".to_owned(),
            })?,
        };
        Ok(Self {
            name: name.to_owned(),
            bytes_per_element,
        })
    }

    /// Whether elements are 8-bit floating point.
    #[must_use]
    pub(crate) fn is_fp8(&self) -> bool {
        self.name.starts_with("fp8")
    }
}
