//! The roofline model of transformer inference under vLLM: the cost of a step, the ceilings of the hardware, and the bound of the engine.
//!
//! Data flows one way: [`spec`] (a model from its `config.json`, a GPU from the table, a deployment from vLLM's flags) →
//! [`cost`] (FLOPs, bytes and seconds of a step) → [`predict`] (latency, throughput, limits, advice). [`engine`] holds the facts of
//! one running engine; [`bound`] and [`units`] contain the shared types.
//!
//! Everything here is pure: no clock, no socket, no file, no environment.
//!
//! ```
//! use roofline::cost::coefficients::Coefficients;
//! use roofline::predict::{Scenario, Serving, Targets, Workload};
//! use roofline::spec::deployment::DeploymentFlags;
//! use roofline::spec::gpu::GpuTable;
//! use roofline::spec::model::ModelSpec;
//! use roofline::units::Seconds;
//!
//! let config = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
//!     "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
//!     "max_position_embeddings": 131072, "torch_dtype": "bfloat16"}"#;
//! let table = GpuTable::embedded()?;
//! let scenario = Scenario {
//!     name: "llama-3.1-8b".to_owned(),
//!     model: ModelSpec::from_json(config)?,
//!     gpu: Some(table.find("H100")?.clone()),
//!     flags: DeploymentFlags::default(),
//!     coefficients: Coefficients::default(),
//!     workload: Workload::Serving(Serving { batch: 32.0, ..Serving::default() }),
//!     targets: Targets { ttft: Seconds(0.5), tpot: Seconds(0.1) },
//! };
//! let prediction = scenario.predict()?;
//! let latency = prediction.latency.expect("a served load has a latency");
//! assert!(latency.tpot_bound_seconds <= latency.tpot_expected_seconds);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bound;
pub mod cost;
pub mod diagnosis;
pub mod engine;
pub mod predict;
pub mod spec;
pub mod statistics;
pub mod units;
