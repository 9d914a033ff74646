//! Computed prompt tokens: those that the meter accounts, compared with those that a simulated server really computed.

use std::sync::Arc;

use roofline::engine::EngineFacts;
use roofline::units::Seconds;
use vllm_roofline_exporter::meter::Meter;
use vllm_roofline_exporter::meter::engine::{EngineMeter, MeterSettings};
use vllm_roofline_exporter::sample::engine::PromptCount;
use vllm_roofline_exporter::sample::page;

use super::server::{Kind, Load, Server};
use super::steady;

/// A meter that reads pages.
pub(super) struct Watched {
    meter: Meter,
}

impl Watched {
    pub(super) fn new() -> Self {
        Self {
            meter: Meter::new(MeterSettings::default()),
        }
    }

    pub(super) fn look(&mut self, page: &str, time: f64) {
        let engines = page::read(page, Seconds(time)).unwrap();
        self.meter
            .observe_engines(engines, |_| Arc::new(EngineFacts::default()));
    }

    pub(super) fn engine(&self) -> &EngineMeter {
        self.meter.engines.values().next().unwrap()
    }
}

/// Remaining error of a minute without the requests in progress at its ends: the load started long before.
const SETTLED: f64 = 60.0;

/// Accounted prompt tokens divided by computed ones, in one minute after the load ran for `before` seconds, of which the meter saw the last
/// 20.
fn minute(minor: u32, load: Load) -> (f64, PromptCount) {
    let mut server = Server::new(minor, load);
    let mut watched = Watched::new();
    let mut accounted = 0.0;
    let mut computed = 0.0;
    for second in 1..=120 {
        let time = f64::from(second);
        server.run_until(time);
        if time >= SETTLED - 20.0 {
            watched.look(&server.page(), server.now);
        }
        if second == 60 {
            accounted = watched.engine().totals.tokens.prefill;
            computed = server.counted.computed;
        }
    }
    let account = &watched.engine().totals;
    (
        (account.tokens.prefill - accounted) / (server.counted.computed - computed),
        account.prompt_count,
    )
}

/// Long prompts that are mostly cached, mixed with short ones that are not.
fn mixed() -> Vec<Kind> {
    vec![
        Kind::of(1.0, 4000.0, 0.9, 50.0),
        Kind::of(1.0, 2000.0, 0.0, 50.0),
    ]
}

fn assert_right(name: &str, load: &Load) {
    for minor in (8..=16).chain([33]) {
        for seed in 1..=3 {
            let load = Load {
                seed,
                ..load.clone()
            };
            let (ratio, _) = minute(minor, load);
            assert!(
                (ratio - 1.0).abs() < 0.03,
                "{name}, 0.{minor}, seed {seed}: {ratio}"
            );
        }
    }
}

#[test]
fn computed_prompts_are_right_at_every_hit_rate() {
    for cached in [0.0, 0.5, 0.9] {
        assert_right(
            &format!("{cached} cached"),
            &Load::of(vec![Kind::of(1.0, 4000.0, cached, 50.0)]),
        );
    }
}

#[test]
fn a_mix_of_requests_is_right() {
    assert_right("mixed", &Load::of(mixed()));
    let rare = Load {
        per_second: 0.5,
        ..Load::of(mixed())
    };
    assert_right("rare", &rare);
    let bursts = Load {
        per_second: 4.0,
        burst: 16,
        ..Load::of(mixed())
    };
    assert_right("bursts", &bursts);
}

#[test]
fn chunked_prompts_are_right() {
    let load = Load {
        token_budget: 256.0,
        ..Load::of(mixed())
    };
    assert_right("a small budget", &load);
}

#[test]
fn another_hit_rate_from_now_on_is_right() {
    let kinds = [0.0, 0.9].map(|cached| vec![Kind::of(1.0, 4000.0, cached, 50.0)]);
    let [before, after] = kinds;
    let load = Load {
        kinds: vec![(0.0, before), (90.0, after)],
        ..Load::of(Vec::new())
    };
    assert_right("another hit rate", &load);
}

/// KV blocks are always short: requests wait for them, are looked up at every step, and are preempted.
pub(super) fn starved(cached: f64) -> Load {
    Load {
        per_second: 3.0,
        blocks: 700.0,
        ..Load::of(vec![Kind::of(1.0, 2000.0, cached, 300.0)])
    }
}

#[test]
fn lookups_that_are_repeated_do_not_count() {
    for cached in [0.0, 0.5] {
        for minor in 11..=15 {
            let (ratio, count) = minute(minor, starved(cached));
            assert!(
                (ratio - 1.0).abs() < 0.03,
                "0.{minor}, {cached} cached: {ratio}"
            );
            let known = if minor < 13 {
                PromptCount::Roughly
            } else {
                PromptCount::Estimated
            };
            assert_eq!(count, known, "0.{minor}");
        }
    }
}

/// Before 0.11.2 preempted requests are looked up too, and find everything that they computed; the share of other requests is known from
/// before.
#[test]
fn what_preempted_requests_find_does_not_count() {
    let calm = Load {
        per_second: 0.5,
        ..starved(0.0)
    };
    let load = |minor: u32| {
        let mut server = Server::new(minor, calm.clone());
        let mut watched = Watched::new();
        for second in 1..=100 {
            if second == 40 {
                server.load.per_second = 4.0;
            }
            server.run_until(f64::from(second));
            watched.look(&server.page(), server.now);
        }
        let account = &watched.engine().totals;
        (
            account.tokens.prefill / server.counted.computed,
            account.prompt_count,
            server.counted.preemptions,
        )
    };
    for minor in [8, 9, 10] {
        let (ratio, count, preemptions) = load(minor);
        assert!(preemptions > 20.0);
        assert!((ratio - 1.0).abs() < 0.15, "0.{minor}: {ratio}");
        assert_eq!(count, PromptCount::Roughly);
    }
}

#[test]
fn how_prompts_are_known_depends_on_the_release() {
    for (minor, known) in [
        (7, PromptCount::Unknown),
        (9, PromptCount::Estimated),
        (15, PromptCount::Estimated),
        (16, PromptCount::Counted),
    ] {
        let (_, count) = minute(minor, Load::of(mixed()));
        assert_eq!(count, known, "0.{minor}");
    }
}

/// The engine before V1 exports the found share of all its lookups so far.
#[test]
fn the_old_engines_share_is_followed() {
    let kinds = [0.0, 0.75].map(|cached| vec![Kind::of(1.0, 4000.0, cached, 50.0)]);
    let [before, after] = kinds;
    let load = Load {
        kinds: vec![(0.0, before), (30.0, after)],
        ..Load::of(Vec::new())
    };
    let mut server = Server::new(7, load);
    let mut watched = Watched::new();
    let mut before = None;
    for second in 1..=90 {
        server.run_until(f64::from(second));
        before = before.or(Some(server.counted.computed));
        let counted = &server.counted;
        let share = counted.hits / counted.queries;
        let gauge = format!("vllm:gpu_prefix_cache_hit_rate{{model_name=\"m\"}} {share:?}\n");
        watched.look(&(server.page() + &gauge), server.now);
    }
    let account = &watched.engine().totals;
    let ratio = account.tokens.prefill / (server.counted.computed - before.unwrap());
    assert!((ratio - 1.0).abs() < 0.03, "{ratio}");
    assert_eq!(account.prompt_count, PromptCount::Estimated);
}

/// A decode server behind a prefill server: its connector finds 90 % of what its own cache lacks.
#[test]
fn transferred_prompts_are_not_computed() {
    const TRANSFERRED: f64 = 0.9;
    for minor in [11, 12, 15] {
        let mut server = Server::new(minor, Load::of(mixed()));
        let mut watched = Watched::new();
        let mut before = None;
        for second in 1..=60 {
            server.run_until(f64::from(second));
            before = before.or(Some(server.counted.computed));
            let asked = server.counted.queries - server.counted.hits;
            let page = server
                .page()
                .lines()
                .map(|line| match line.split_once("} ") {
                    Some((series, _)) if line.contains("external_prefix_cache_queries") => {
                        format!("{series}}} {asked:?}\n")
                    }
                    Some((series, _)) if line.contains("external_prefix_cache_hits") => {
                        format!("{series}}} {:?}\n", asked * TRANSFERRED)
                    }
                    _ => format!("{line}\n"),
                })
                .collect::<String>();
            watched.look(&page, server.now);
        }
        let computed = (server.counted.computed - before.unwrap()) * (1.0 - TRANSFERRED);
        let ratio = watched.engine().totals.tokens.prefill / computed;
        assert!((ratio - 1.0).abs() < 0.03, "0.{minor}: {ratio}");
    }
}

/// An impossible total must not stay in later sums.
#[test]
fn one_impossible_total_costs_its_own_time() {
    let mut server = Server::new(12, steady());
    let mut watched = Watched::new();
    let mut computed = 0.0;
    for second in 1..=60 {
        server.run_until(f64::from(second));
        let page = server.page();
        let counted = format!("model_name=\"m\"}} {:?}", server.counted.prompts);
        let page = if second == 20 {
            page.replace(&counted, "model_name=\"m\"} 9e20")
        } else {
            page
        };
        watched.look(&page, server.now);
        if second == 30 {
            computed = server.counted.computed - watched.engine().totals.tokens.prefill;
        }
    }
    let missed = server.counted.computed - watched.engine().totals.tokens.prefill;
    assert!(
        (missed - computed).abs() < 0.03 * server.counted.computed,
        "{missed} after {computed}"
    );
}
