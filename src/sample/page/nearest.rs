//! What a metric that is missing may be called now.

use crate::exposition::{Kind, Line, Lines};
use crate::sample::metrics::Quantity;

use super::names::without_prefix;

/// Names less alike than this have nothing to do with each other.
const ALIKE: f64 = 0.5;

/// The unknown family of vLLM's on `page` of the same kind as `wanted` whose name is most like its own.
pub(super) fn nearest(page: &str, wanted: Quantity) -> Option<String> {
    let own = wanted.metric().name.text;
    Lines::new(page)
        .filter_map(Result::ok)
        .filter_map(|line| match line {
            Line::Type { family, kind } if alike(kind, wanted.kind()) => Some(family),
            _ => None,
        })
        .filter(|family| !family.ends_with("_created"))
        .filter_map(|family| Some((family, without_prefix(family)?.0)))
        .filter(|(_, name)| !is_known(name))
        .map(|(family, name)| (family, strsim::sorensen_dice(name, own)))
        .filter(|&(_, likeness)| likeness >= ALIKE)
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(family, _)| family.to_owned())
}

fn alike(found: Kind, wanted: Kind) -> bool {
    found == wanted || found == Kind::Untyped
}

fn is_known(name: &str) -> bool {
    // OpenMetrics names a counter's family without its suffix.
    let total = format!("{name}_total");
    Quantity::all().any(|quantity| {
        let mut names = quantity.metric().names();
        names.any(|known| known.text == name || known.text == total)
    })
}
