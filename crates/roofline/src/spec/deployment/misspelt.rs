//! Detects misspelt flags in a `vllm serve` line: ignoring them would predict another deployment.

use super::spelling::SHORT_NAMES;

/// Names below this length may differ by one letter, longer ones by up to two.
const SHORT: usize = 8;

/// Whether `long`, which is not a flag, is one of `flags` with wrong letters, cut short, or with words left out; or a short name with two
/// dashes (`--tp`).
pub(super) fn is_misspelt<'a>(long: &str, flags: impl IntoIterator<Item = &'a str>) -> bool {
    let is_short_name = SHORT_NAMES
        .iter()
        .any(|(short, _)| short.trim_start_matches('-') == long);
    let tolerated = if long.len() < SHORT { 1 } else { 2 };
    is_short_name
        || flags.into_iter().any(|flag| {
            strsim::osa_distance(flag, long) <= tolerated
                || (long.contains('-') && has_all_words(flag, long))
        })
}

/// Whether each word of `long` begins a word of `flag`, in this order.
fn has_all_words(flag: &str, long: &str) -> bool {
    let mut words = flag.split('-');
    long.split('-')
        .all(|word| !word.is_empty() && words.any(|whole| whole.starts_with(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_a_flag_is_told_from_what_is_another() {
        let flags = ["tensor-parallel-size", "max-num-seqs", "enforce-eager"];
        for misspelt in [
            "tensor-paralel-size",
            "tensor-parallel",
            "tensor-size",
            "tp",
            "max-seqs",
            "enforce-eagre",
        ] {
            assert!(is_misspelt(misspelt, flags), "{misspelt}");
        }
        for other in ["brand-new", "max-queue", "size-tensor", "eager", "port"] {
            assert!(!is_misspelt(other, flags), "{other}");
        }
    }
}
