//! The verdict and the history as JSON, for `/api/v1/verdict` and `/api/v1/history`.

use roofline::diagnosis::worst;
use serde_json::{Value, json};

use crate::snapshot::{EngineSnapshot, Snapshot};

/// Version of this JSON.
const SCHEMA: u32 = 1;

/// The verdict on each engine of `snapshot`; the top-level one belongs to the engine with the worst verdict.
#[must_use]
pub fn verdict(snapshot: &Snapshot) -> Value {
    let held_back = |engine: &&EngineSnapshot| worst(&engine.verdict);
    // Among equals, the first.
    let first = snapshot.engines.iter().rev().max_by_key(held_back);
    json!({
        "schema": SCHEMA,
        "time": snapshot.time,
        "verdict": first.map_or(&[][..], |engine| &engine.verdict),
        "engines": snapshot.engines.iter().map(|engine| json!({
            "target": engine.target,
            "model_name": engine.key.model_name,
            "engine": engine.key.engine,
            "engine_state": engine.state,
            "bound": engine.bound,
            "admission": engine.window.as_ref().map(|window| window.admission),
            "time_seconds": engine.recently,
            "verdict": engine.verdict,
            "outlook": engine.outlook,
        })).collect::<Vec<_>>(),
    })
}

/// The last hour of each engine of `snapshot`, with its events.
#[must_use]
pub fn history(snapshot: &Snapshot) -> Value {
    json!({
        "schema": SCHEMA,
        "time": snapshot.time,
        "engines": snapshot.engines.iter().map(|engine| json!({
            "target": engine.target,
            "model_name": engine.key.model_name,
            "engine": engine.key.engine,
            "points": engine.history.as_ref(),
            "events": engine.events,
        })).collect::<Vec<_>>(),
    })
}
