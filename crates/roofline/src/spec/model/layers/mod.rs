//! Reads the list of layers: the mixer and the feed-forward block of each.

mod attention;
mod described;
mod feed_forward;
mod lettered;
mod recurrence;

use super::config::{ConfigFields, ModelError};
use super::family::{ModelFamily, Skeleton};
use super::{FeedForward, Layer, Mixer};

/// The deepest models have a few hundred.
const MOST_LAYERS: u64 = 4096;

/// All layers of the model, in order.
pub(super) fn read(
    fields: &ConfigFields<'_>,
    family: &ModelFamily,
    hidden: u64,
) -> Result<Vec<Layer>, ModelError> {
    let reader = LayerReader {
        fields,
        family,
        hidden,
        count: layer_count(fields)?,
    };
    let mut layers = Vec::new();
    for index in 0..reader.count {
        layers.extend(reader.layers_at(index)?);
    }
    Ok(layers)
}

/// The number of layers: stated, or the length of a list or pattern of layer kinds.
fn layer_count(fields: &ConfigFields<'_>) -> Result<u64, ModelError> {
    let names = &["num_hidden_layers", "n_layer", "num_layers", "n_layers"];
    let by_pattern = fields.string("hybrid_override_pattern").map(str::len);
    let by_list = fields.list("layers_block_type").map(<[_]>::len);
    let listed = by_pattern
        .or(by_list)
        .and_then(|length| u64::try_from(length).ok());
    let count = match (fields.count(names), listed) {
        (None, Some(length)) => length,
        _ => fields.need(names)?,
    };
    if count > MOST_LAYERS {
        return Err(fields.bad(names[0], format!("must be at most {MOST_LAYERS}")));
    }
    Ok(count)
}

struct LayerReader<'a> {
    fields: &'a ConfigFields<'a>,
    family: &'a ModelFamily,
    hidden: u64,
    count: u64,
}

impl LayerReader<'_> {
    /// The layers at `index`: one, or two for parallel mixers.
    fn layers_at(&self, index: u64) -> Result<Vec<Layer>, ModelError> {
        let (mixer, feed_forward) = match self.family.skeleton {
            Skeleton::Sequential => (self.mixer(index)?, self.feed_forward(index)?),
            Skeleton::RecurrenceOnly => (self.mixer(index)?, FeedForward::None),
            Skeleton::Lettered => self.lettered(index)?,
            Skeleton::Described => self.described(index)?,
            Skeleton::Parallel => {
                let beside = self.recurrence()?;
                let halves = [
                    (self.attention(index)?, FeedForward::None),
                    (beside, self.feed_forward(index)?),
                ];
                return Ok(halves
                    .map(|(mixer, feed_forward)| Layer {
                        norm_params: self.family.norm_parts * self.hidden,
                        ..self.layer(index, mixer, feed_forward)
                    })
                    .to_vec());
            }
        };
        Ok(vec![self.layer(index, mixer, feed_forward)])
    }

    fn layer(&self, index: u64, mixer: Mixer, feed_forward: FeedForward) -> Layer {
        let layer_input = self
            .fields
            .count(&["hidden_size_per_layer_input"])
            .unwrap_or(0);
        let with_experts = matches!(feed_forward, FeedForward::Experts(_));
        let bare = match self.family.skeleton {
            Skeleton::Described => {
                u64::from(mixer != Mixer::None) + u64::from(feed_forward != FeedForward::None)
            }
            _ => self.family.norms,
        };
        let norms =
            bare + if with_experts {
                self.family.expert_norms
            } else {
                0
            } + u64::from(layer_input > 0);
        Layer {
            index,
            mixer,
            feed_forward,
            norm_params: norms * self.family.norm_parts * self.hidden + self.family.scalars,
            layer_input,
        }
    }

    fn mixer(&self, index: u64) -> Result<Mixer, ModelError> {
        if self.attends(index) {
            self.attention(index)
        } else {
            self.recurrence()
        }
    }

    fn layer_type(&self, index: u64) -> Option<&str> {
        let types = ["layer_types", "layers_block_type"]
            .iter()
            .find_map(|name| self.fields.strings(name))?;
        at(&types, index).copied()
    }
}

fn at<T>(list: &[T], index: u64) -> Option<&T> {
    list.get(usize::try_from(index).ok()?)
}
