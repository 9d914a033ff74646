//! Models that are recognised but out of scope: models that do not decode, and decoders with unsupported kinds of layers.

/// Models that process each input once.
const ENCODERS: [&str; 12] = [
    "bert",
    "roberta",
    "xlm-roberta",
    "distilbert",
    "albert",
    "deberta",
    "deberta-v2",
    "electra",
    "mpnet",
    "nomic_bert",
    "modernbert",
    "new",
];

const ENCODER_DECODERS: [&str; 6] = ["t5", "mt5", "bart", "mbart", "whisper", "umt5"];

/// Suffixes of classes whose output is a vector or a score.
const POOLING: [&str; 5] = [
    "ForSequenceClassification",
    "ForTokenClassification",
    "RewardModel",
    "EmbeddingModel",
    "ForTextEmbedding",
];

/// Decoders that a generic reading would misinterpret, by `model_type`, each with its special trait.
const OTHER_DECODERS: [(&[&str], &str); 9] = [
    (
        &["deepseek_v4", "deepseek_ref"],
        "its attention reads a compressed cache of several granularities",
    ),
    (
        &["minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text"],
        "its sparse attention selects blocks of the cache",
    ),
    (
        &["minimax", "minimax_text_01", "minimax_m1"],
        "it mixes attention with lightning attention",
    ),
    (
        &["kimi_k3"],
        "its latent attention is gated and some of its experts work on a narrower width",
    ),
    (
        &["longcat_flash"],
        "each of its layers holds two attentions and experts that do nothing",
    ),
    (
        &["gemma3n", "gemma3n_text"],
        "its layers carry several residual streams (AltUp) and low-rank skips (LAuReL)",
    ),
    (
        &["zamba", "zamba2"],
        "its layers share one attention block, each with an adapter of its own",
    ),
    (
        &["mllama", "mllama_text_model"],
        "some of its layers attend to an image encoder's output instead of the text",
    ),
    (
        &[
            "recurrent_gemma",
            "rwkv",
            "rwkv5",
            "rwkv6",
            "rwkv7",
            "jetmoe",
            "zaya",
            "hy_v4",
            "qwen4_exp",
        ],
        "its token mixers are of a kind of their own",
    ),
];

/// Why the steps of such a model are not modelled.
pub(super) fn excluded(model_types: &[&str], architecture: &str) -> Option<&'static str> {
    let is_one_of = |names: &[&str]| names.iter().any(|name| model_types.contains(name));
    if is_one_of(&ENCODERS) {
        return Some("an encoder reads each input once and decodes nothing");
    }
    if is_one_of(&ENCODER_DECODERS) {
        return Some("an encoder-decoder runs cross-attention over a separate encoder");
    }
    if POOLING.iter().any(|ending| architecture.contains(ending)) {
        return Some(
            "a pooling model decodes nothing; use the config.json of its generating sibling",
        );
    }
    let other = OTHER_DECODERS.iter().find(|(names, _)| is_one_of(names));
    other.map(|(_, reason)| *reason)
}
