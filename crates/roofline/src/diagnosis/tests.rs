//! Findings, their order and severity, and the remedies that a load gets.

use serde_json::json;

use super::*;
use crate::predict::{Scenario, Serving, Targets, Workload};
use crate::spec::deployment::DeploymentFlags;
use crate::spec::gpu::GpuTable;
use crate::spec::model::ModelSpec;
use crate::units::Seconds;

/// An 8B model on an H100.
fn scenario(flags: DeploymentFlags) -> Scenario {
    let config = json!({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256, "torch_dtype": "bfloat16",
        "max_position_embeddings": 8192});
    let gpu = GpuTable::embedded().unwrap().find("H100").unwrap().clone();
    Scenario {
        name: "llama".to_owned(),
        model: ModelSpec::from_config(&config).unwrap(),
        gpu: Some(gpu),
        flags,
        coefficients: Default::default(),
        workload: Workload::Serving(Serving {
            input_tokens: 1.0,
            cached_tokens: 0.0,
            output_tokens: 1.0,
            batch: 1.0,
            ..Serving::default()
        }),
        targets: Targets {
            ttft: Seconds(0.5),
            tpot: Seconds(0.1),
        },
    }
}

/// Eight requests that decode, as an H100 serves them.
fn decoding() -> Observation {
    Observation {
        state: EngineState::Running,
        bound: Bound::MemoryBandwidth,
        dominant: Some(Dominant::Weights),
        busy_shares: vec![(Bound::MemoryBandwidth, 0.8), (Bound::Overhead, 0.2)],
        running: Some(8.0),
        waiting: Some(0.0),
        decode_batch: Some(8.0),
        input_tokens: Some(128.0),
        output_tokens: Some(256.0),
        users: Effect {
            output_tokens_per_second: Some(1200.0),
            ttft_seconds: Some(0.03),
            tpot_seconds: Some(0.0066),
            dollars_per_million_tokens: None,
        },
        ..Observation::default()
    }
}

/// The same with a queue caused by `admission`.
fn queueing(admission: Admission) -> Observation {
    Observation {
        admission,
        waiting: Some(90.0),
        kv_usage: Some(0.98),
        kv_capacity_tokens: Some(16_000.0),
        users: Effect {
            ttft_seconds: Some(12.0),
            ..decoding().users
        },
        ..decoding()
    }
}

fn verdict_of(seen: &Observation, flags: DeploymentFlags) -> Vec<Finding> {
    diagnose(seen, &Remedies::of(seen, Some(&scenario(flags))))
}

fn kinds(verdict: &[Finding]) -> Vec<(FindingKind, Severity)> {
    let kind = |finding: &Finding| (finding.id, finding.severity);
    verdict.iter().map(kind).collect()
}

fn remedies(finding: &Finding) -> Vec<RemedyKind> {
    finding.remedies.iter().map(|remedy| remedy.id).collect()
}

#[test]
fn a_queue_comes_before_the_hardware() {
    for (admission, id, severity) in [
        (
            Admission::KvCapacity,
            FindingKind::KvCapacity,
            Severity::Critical,
        ),
        (
            Admission::MaxNumSeqs,
            FindingKind::MaxNumSeqs,
            Severity::Warning,
        ),
        (
            Admission::TokenBudget,
            FindingKind::TokenBudget,
            Severity::Warning,
        ),
        (Admission::Unknown, FindingKind::Waiting, Severity::Warning),
    ] {
        let found = kinds(&diagnose(&queueing(admission), &Remedies::default()));
        let hardware = (FindingKind::MemoryBandwidth, Severity::Info);
        assert_eq!(found, [(id, severity), hardware]);
    }
}

#[test]
fn prompts_that_wait_for_saturated_tensor_cores_are_a_symptom() {
    for admission in [Admission::TokenBudget, Admission::Unknown] {
        let seen = Observation {
            bound: Bound::Compute,
            ..queueing(admission)
        };
        assert_eq!(
            diagnose(&seen, &Remedies::default())[0].id,
            FindingKind::Compute
        );
    }
    let full = Observation {
        bound: Bound::Compute,
        ..queueing(Admission::KvCapacity)
    };
    assert_eq!(
        diagnose(&full, &Remedies::default())[0].id,
        FindingKind::KvCapacity
    );
}

#[test]
fn a_full_cache_is_critical_where_users_wait_for_it() {
    let severity = |waiting, preemptions_per_second| {
        let seen = Observation {
            waiting: Some(waiting),
            preemptions_per_second,
            ..queueing(Admission::KvCapacity)
        };
        diagnose(&seen, &Remedies::default())[0].severity
    };
    assert_eq!(severity(1.0, 0.0), Severity::Warning);
    assert_eq!(severity(3.0, 0.0), Severity::Critical);
    assert_eq!(severity(0.0, 0.5), Severity::Critical);
}

#[test]
fn every_bound_has_its_finding_and_what_costs_most_of_the_time_is_a_warning() {
    for (bound, id, severity) in [
        (Bound::Compute, FindingKind::Compute, Severity::Info),
        (
            Bound::MemoryBandwidth,
            FindingKind::MemoryBandwidth,
            Severity::Info,
        ),
        (
            Bound::Interconnect,
            FindingKind::Interconnect,
            Severity::Warning,
        ),
        (Bound::Host, FindingKind::Host, Severity::Warning),
        (
            Bound::KernelLatency,
            FindingKind::KernelLatency,
            Severity::Warning,
        ),
        (Bound::Overhead, FindingKind::Overhead, Severity::Warning),
    ] {
        let seen = |share| Observation {
            bound,
            busy_shares: vec![(bound, share)],
            ..decoding()
        };
        let [finding] = diagnose(&seen(0.63), &Remedies::default())
            .try_into()
            .unwrap();
        assert_eq!((finding.id, finding.severity), (id, severity));
        assert!(
            finding.finding.contains("63 % of busy time"),
            "{}",
            finding.finding
        );
        assert!(
            finding.evidence[0].contains("63 %"),
            "{:?}",
            finding.evidence
        );
        let less = diagnose(&seen(0.4), &Remedies::default())[0].severity;
        let expected = if bound == Bound::Interconnect {
            severity
        } else {
            Severity::Info
        };
        assert_eq!(less, expected, "{bound:?}");
    }
}

#[test]
fn what_does_not_run_has_one_finding() {
    for (state, id, severity) in [
        (EngineState::Idle, FindingKind::Idle, Severity::Info),
        (EngineState::Sleeping, FindingKind::Sleeping, Severity::Info),
        (
            EngineState::Stalled,
            FindingKind::Stalled,
            Severity::Critical,
        ),
        (
            EngineState::Unreachable,
            FindingKind::Unreachable,
            Severity::Critical,
        ),
    ] {
        let seen = Observation {
            state,
            ..queueing(Admission::KvCapacity)
        };
        assert_eq!(
            kinds(&diagnose(&seen, &Remedies::default())),
            [(id, severity)]
        );
    }
}

#[test]
fn an_api_server_that_is_behind_comes_first_and_users_feel_it() {
    let seen = |share| Observation {
        outside_share: Some(share),
        request_seconds: Some(3.25),
        bound: Bound::Host,
        busy_shares: vec![(Bound::Host, 0.8), (Bound::MemoryBandwidth, 0.2)],
        ..decoding()
    };
    let verdict = diagnose(&seen(0.57), &Remedies::of(&seen(0.57), None));
    assert_eq!(verdict[0].id, FindingKind::FrontEnd);
    assert_eq!(verdict[0].severity, Severity::Critical);
    assert!(
        verdict[0].finding.contains("57 % of a request's time"),
        "{verdict:?}"
    );
    // 3.25 s minus the first token, over 255 more tokens: not the 6.6 ms of the engine.
    let felt = seen(0.57).felt().tpot_seconds.unwrap();
    assert!((felt - (3.25 - 0.03) / 255.0).abs() < 1e-9, "{felt}");
    let remedy = &verdict[0].remedies[0];
    assert_eq!(remedy.id, RemedyKind::ApiServers);
    assert!(remedy.predicted.tpot_seconds < Some(felt), "{remedy:?}");
    assert_eq!(verdict[1].id, FindingKind::Host);

    let usual = diagnose(&seen(0.01), &Remedies::default());
    assert_eq!(usual[0].id, FindingKind::Host);
}

#[test]
fn a_power_limit_matters_where_arithmetic_limits() {
    let severity = |bound| {
        let seen = Observation {
            bound,
            power_limited_ratio: Some(0.9),
            ..decoding()
        };
        let verdict = diagnose(&seen, &Remedies::default());
        let power = verdict
            .iter()
            .find(|finding| finding.id == FindingKind::PowerLimit);
        power.map(|finding| finding.severity)
    };
    assert_eq!(severity(Bound::Compute), Some(Severity::Warning));
    assert_eq!(severity(Bound::MemoryBandwidth), Some(Severity::Info));
}

#[test]
fn a_starved_engine_gets_room_and_what_is_free_comes_first() {
    let flags = DeploymentFlags {
        gpu_memory_utilization: Some(0.3),
        ..DeploymentFlags::default()
    };
    let seen = queueing(Admission::KvCapacity);
    let verdict = verdict_of(&seen, flags);
    let first = &verdict[0];
    assert_eq!(remedies(first)[0], RemedyKind::MemoryUtilization);
    assert!(
        remedies(first).contains(&RemedyKind::KvCacheFp8),
        "{first:?}"
    );
    assert!(first.remedies.is_sorted_by_key(|remedy| !remedy.free));
    for remedy in &first.remedies {
        assert!(
            remedy.predicted.output_tokens_per_second > Some(1200.0),
            "{remedy:?}"
        );
        assert!(remedy.predicted.ttft_seconds < Some(12.0), "{remedy:?}");
    }
    let names: Vec<_> = first.remedies[0]
        .shifts(&seen.users)
        .into_iter()
        .map(|shift| shift.name)
        .collect();
    assert_eq!(names, ["output", "TTFT", "TPOT"]);
}

#[test]
fn a_cache_of_a_fixed_number_of_blocks_is_set_free() {
    let seen = Observation {
        kv_blocks_overridden: true,
        ..queueing(Admission::KvCapacity)
    };
    let verdict = verdict_of(&seen, DeploymentFlags::default());
    let first = &verdict[0].remedies[0];
    assert_eq!(first.r#do, "remove --num-gpu-blocks-override");
    assert!(
        first.predicted.output_tokens_per_second > Some(1200.0),
        "{first:?}"
    );
}

#[test]
fn a_cache_that_has_all_the_memory_gets_narrower_keys() {
    let flags = DeploymentFlags {
        gpu_memory_utilization: Some(0.95),
        ..DeploymentFlags::default()
    };
    let seen = Observation {
        kv_capacity_tokens: None,
        ..queueing(Admission::KvCapacity)
    };
    let found = remedies(&verdict_of(&seen, flags)[0]);
    assert!(!found.contains(&RemedyKind::MemoryUtilization), "{found:?}");
    assert!(found.contains(&RemedyKind::KvCacheFp8), "{found:?}");
}

#[test]
fn sequences_are_raised_to_what_waits_and_no_further() {
    let flags = DeploymentFlags {
        max_num_seqs: Some(8),
        ..DeploymentFlags::default()
    };
    let seen = Observation {
        kv_usage: Some(0.02),
        kv_capacity_tokens: Some(400_000.0),
        ..queueing(Admission::MaxNumSeqs)
    };
    let first = &verdict_of(&seen, flags)[0].remedies[0];
    // 8 run and 90 wait.
    assert_eq!(first.r#do, "raise --max-num-seqs from 8 to 104");
}

#[test]
fn one_user_is_told_no_batch_that_nobody_fills() {
    let seen = Observation {
        running: Some(1.0),
        decode_batch: Some(1.0),
        ..decoding()
    };
    let verdict = verdict_of(&seen, DeploymentFlags::default());
    let offered = remedies(&verdict[0]);
    assert!(
        !offered.contains(&RemedyKind::MaxNumSeqs) && !offered.contains(&RemedyKind::Replica),
        "{offered:?}"
    );
    assert!(offered.contains(&RemedyKind::Speculation), "{offered:?}");
}

#[test]
fn a_second_gpu_is_no_remedy_for_the_host() {
    for bound in [Bound::Host, Bound::KernelLatency, Bound::Overhead] {
        let seen = Observation {
            bound,
            busy_shares: vec![(bound, 0.9), (Bound::MemoryBandwidth, 0.1)],
            ..decoding()
        };
        let flags = DeploymentFlags {
            enforce_eager: true,
            ..DeploymentFlags::default()
        };
        let verdict = verdict_of(&seen, flags);
        assert_eq!(remedies(&verdict[0])[0], RemedyKind::CudaGraphs);
        assert!(
            verdict[0].remedies.iter().all(|remedy| remedy.free),
            "{verdict:?}"
        );
    }
}

#[test]
fn no_remedy_promises_more_than_its_component_takes() {
    let seen = Observation {
        busy_shares: vec![
            (Bound::MemoryBandwidth, 0.4),
            (Bound::Overhead, 0.35),
            (Bound::Compute, 0.25),
        ],
        ..decoding()
    };
    for remedy in &verdict_of(&seen, DeploymentFlags::default())[0].remedies {
        if remedy.id == RemedyKind::WeightsInt4 {
            let saved = 1.0 - remedy.predicted.tpot_seconds.unwrap() / 0.0066;
            assert!(saved <= 0.4 + 1e-9, "{saved}");
        }
    }
}

#[test]
fn where_the_traffic_sets_the_throughput_no_remedy_raises_it() {
    let seen = Observation {
        idle_share: 0.5,
        ..decoding()
    };
    let verdict = verdict_of(&seen, DeploymentFlags::default());
    assert!(!verdict[0].remedies.is_empty());
    for remedy in &verdict[0].remedies {
        assert_eq!(remedy.predicted.output_tokens_per_second, Some(1200.0));
        assert!(!remedy.shifts(&seen.users).is_empty(), "{remedy:?}");
    }
}

#[test]
fn without_a_deployment_what_is_free_is_named_without_a_figure() {
    let seen = queueing(Admission::KvCapacity);
    let verdict = diagnose(&seen, &Remedies::of(&seen, None));
    assert!(!verdict[0].remedies.is_empty());
    for remedy in &verdict[0].remedies {
        assert!(remedy.free);
        assert_eq!(remedy.predicted, Effect::default());
    }
}

#[test]
fn the_best_remedies_are_those_of_the_weightiest_finding_and_each_is_told_once() {
    let flags = DeploymentFlags {
        gpu_memory_utilization: Some(0.3),
        ..DeploymentFlags::default()
    };
    let verdict = verdict_of(&queueing(Admission::KvCapacity), flags);
    let best = best_remedies(&verdict, 3);
    assert_eq!(best.len(), 3);
    assert_eq!(best[0], &verdict[0].remedies[0]);
    let all = best_remedies(&verdict, 100);
    let kinds: std::collections::BTreeSet<_> =
        all.iter().map(|remedy| remedy.id.as_str()).collect();
    assert_eq!(kinds.len(), all.len());
}

#[test]
fn a_sentence_begins_with_its_headline() {
    let states = EngineState::ALL.iter().map(|&state| Observation {
        state,
        ..decoding()
    });
    let bounds = Bound::ALL.iter().map(|&bound| Observation {
        bound,
        power_limited_ratio: Some(0.9),
        ..decoding()
    });
    let queues = Admission::ALL.iter().map(|&admission| queueing(admission));
    let mut seen = std::collections::BTreeSet::new();
    for observation in states.chain(bounds).chain(queues) {
        for finding in diagnose(&observation, &Remedies::default()) {
            // A queue without a known cause begins with its number.
            if finding.id != FindingKind::Waiting {
                let headline = finding.id.headline();
                assert!(finding.finding.starts_with(headline), "{finding:?}");
            }
            seen.insert(finding.id.as_str());
        }
    }
    assert!(seen.len() >= FindingKind::ALL.len() - 2, "{seen:?}");
}
