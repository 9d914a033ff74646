use serde_json::json;

use super::*;

fn model(config: &Value) -> ModelSpec {
    ModelSpec::from_config(config).expect("complete")
}
