//! Decoders whose MLP has two matrices.

use super::{Bias, Class, LLAMA, ModelFamily};
use crate::spec::model::config::ConfigFields;

/// GPT-2's shape: `LayerNorm`, two-matrix MLP, biases everywhere.
const GPT: ModelFamily = ModelFamily {
    tied_head: true,
    norm_parts: 2,
    gated: false,
    qkv_bias: Bias::Always,
    output_bias: Bias::Always,
    mlp_bias: Bias::Always,
    ..LLAMA
};

/// Decoders whose MLP has two matrices.
pub(super) const DECODERS: &[Class] = &[
    (&["gpt2", "gpt_bigcode"], |_| ModelFamily {
        learned_positions: Some(0),
        ..GPT
    }),
    (&["opt"], |_| ModelFamily {
        learned_positions: Some(2),
        ..GPT
    }),
    (&["bloom"], |_| ModelFamily {
        embedding_norm: true,
        ..GPT
    }),
    (&["gpt_neox"], |_| ModelFamily {
        tied_head: false,
        ..GPT
    }),
    (&["phi"], |_| ModelFamily {
        tied_head: false,
        norms: 1,
        head_bias: Bias::Always,
        ..GPT
    }),
    (&["gptj"], |_| ModelFamily {
        tied_head: false,
        norms: 1,
        qkv_bias: Bias::Never,
        output_bias: Bias::Never,
        head_bias: Bias::Always,
        ..GPT
    }),
    (&["starcoder2"], |_| with_biases(GPT, "use_bias", true)),
    (&["falcon"], |fields| ModelFamily {
        norms: falcon_norms(fields),
        ..with_biases(GPT, "bias", false)
    }),
    (&["nemotron"], |_| ModelFamily {
        tied_head: false,
        qkv_bias: LLAMA.qkv_bias,
        output_bias: LLAMA.output_bias,
        mlp_bias: LLAMA.mlp_bias,
        ..GPT
    }),
];

/// `family` with all biases controlled by one field.
fn with_biases(family: ModelFamily, field: &'static str, default: bool) -> ModelFamily {
    let bias = Bias::Field(field, default);
    ModelFamily {
        qkv_bias: bias,
        output_bias: bias,
        mlp_bias: bias,
        ..family
    }
}

/// One norm feeds attention and MLP in parallel; the new decoder, and a sequential one, have two.
fn falcon_norms(fields: &ConfigFields<'_>) -> u64 {
    let new_decoder = fields.flag("new_decoder_architecture") == Some(true);
    let sequential = fields.flag("parallel_attn") == Some(false);
    if new_decoder || sequential { 2 } else { 1 }
}
