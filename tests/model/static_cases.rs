//! The numeric cases of the static roofline: parameters exact, FLOPs, bytes and bounds within the file's tolerances.

#![expect(clippy::expect_used, reason = "a test may panic")]

use roofline::cost::ceiling::Ceiling;
use roofline::cost::shard::Shard;
use roofline::cost::step::{RequestGroup, StepWork};
use roofline::spec::deployment::{Deployment, DeploymentFlags};
use roofline::spec::gpu::GpuTable;
use roofline::spec::model::ModelSpec;
use serde_json::Value;

/// A case with the results of this program.
struct Case {
    name: String,
    expected: Value,
    deployment: Deployment,
    shard: Shard,
    work: StepWork,
    ceiling: Ceiling,
}

impl Case {
    fn of(case: &Value) -> Self {
        let arguments: Vec<&str> = case["cli"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let argument = |name: &str| {
            arguments
                .iter()
                .position(|word| *word == name)
                .map(|at| arguments[at + 1])
        };
        let flags = DeploymentFlags::from_vllm_command_line(&arguments).expect("readable");
        let table = GpuTable::embedded().expect("parses");
        let gpu = table
            .find(argument("--gpu").expect("named"))
            .expect("known");
        let model = ModelSpec::from_config(&case["config"]).expect("complete");
        let deployment = Deployment::new(model, Some(gpu.clone()), &flags).expect("runs");
        let shard = Shard::of(&deployment);
        let groups: Vec<RequestGroup> =
            serde_json::from_value(case["requests"].clone()).expect("requests");
        Self {
            name: format!("{} {}", case["id"], case["model"]),
            expected: case["expected"].clone(),
            work: shard.work_of_step(&groups),
            ceiling: Ceiling::theoretical(gpu),
            shard,
            deployment,
        }
    }

    fn check(&self, field: &str, value: f64, tolerance: f64) {
        let expected = self.expected[field].as_f64().expect(field);
        let close = (value - expected).abs() <= tolerance * expected.abs();
        assert!(
            close,
            "{}: {field} is {value}, expected {expected} within {tolerance}",
            self.name
        );
    }
}

fn cases() -> Vec<Case> {
    let file: Value =
        serde_json::from_str(include_str!("../fixtures/static-cases.json")).expect("valid JSON");
    file["cases"]
        .as_array()
        .expect("a list")
        .iter()
        .map(Case::of)
        .collect()
}

#[test]
fn parameters_are_exact() {
    for case in cases() {
        let model = &case.deployment.model;
        for (field, counted) in [
            ("total_params", model.total_params()),
            ("active_params_incl_embeddings", model.active_params()),
            (
                "active_params_excl_input_embedding",
                model.active_params_excluding_input_embedding(),
            ),
        ] {
            assert_eq!(
                Some(counted),
                case.expected[field].as_u64(),
                "{}: {field}",
                case.name
            );
        }
    }
}

#[test]
fn memory_is_exact_or_within_a_percent() {
    for case in cases() {
        case.check(
            "kv_bytes_per_token_per_gpu",
            case.shard.kv_per_token().0,
            1e-12,
        );
        case.check(
            "recurrent_state_bytes_per_seq_per_gpu",
            case.shard.state_per_sequence().0,
            1e-12,
        );
        case.check(
            "weights_resident_bytes_per_gpu",
            case.shard.resident_weights().0,
            0.01,
        );
    }
}

#[test]
fn work_is_within_tolerance() {
    for case in cases() {
        case.check("flops_per_gpu_total", case.work.flops.total().0, 0.02);
        case.check("bytes_per_gpu_total", case.work.bytes.total().0, 0.03);
        case.check(
            "routed_expert_bytes_per_gpu",
            case.work.bytes.routed_experts.0,
            0.001,
        );
        let by_role = &case.expected["bytes_per_gpu"];
        for (role, bytes) in [
            ("kv_read", case.work.bytes.kv_read),
            ("kv_write", case.work.bytes.kv_write),
            ("lm_head", case.work.bytes.lm_head),
        ] {
            assert!(
                (bytes.0 / by_role[role].as_f64().expect(role) - 1.0).abs() < 1e-9,
                "{} {role}",
                case.name
            );
        }
        let by_role = &case.expected["flops_per_gpu"];
        for (role, flops) in [
            ("linear", case.work.flops.linear),
            ("attn", case.work.flops.attention),
            ("lm_head", case.work.flops.lm_head),
        ] {
            assert!(
                (flops.0 / by_role[role].as_f64().expect(role) - 1.0).abs() < 0.02,
                "{} {role} {flops:?}",
                case.name
            );
        }
    }
}

#[test]
fn bounds_are_within_tolerance() {
    for case in cases() {
        let (compute, memory) = (
            case.work.compute_seconds(&case.ceiling),
            case.work.memory_seconds(&case.ceiling),
        );
        case.check("t_compute_ms", compute.0 * 1e3, 0.03);
        case.check("t_memory_ms", memory.0 * 1e3, 0.03);
        case.check("t_lower_bound_ms", compute.max(memory).0 * 1e3, 0.03);
        let bound = if compute > memory {
            "compute"
        } else {
            "memory"
        };
        assert_eq!(case.expected["bound"], bound, "{}", case.name);
    }
}

#[test]
fn communication_counts_every_all_reduce() {
    for case in cases() {
        let communication = case.work.communication;
        case.check("n_allreduce", communication.all_reduces, 1e-9);
        case.check(
            "tp_allreduce_payload_bytes_per_step",
            communication.all_reduce_payload.0,
            1e-9,
        );
        if communication.all_reduces > 0.0 {
            let ring = communication.all_reduce_payload * communication.ring_factor()
                / case.ceiling.link.bandwidth;
            case.check("t_comm_ring_bw_only_ms", ring.0 * 1e3, 0.01);
        }
    }
}
