//! Expected times against third-party published runs of vLLM, by tensor-parallel degree, kind of model and GPU.
//!
//! The coefficients were fitted to these runs, so this test guards the quality of the fit; `docs/prediction.md` has the cross-validation.
//! `cargo test -p roofline --test published_runs -- --nocapture` prints the table; the example `published_runs` does so for a file.

#![expect(clippy::expect_used, reason = "a test may panic")]

mod published;

use std::sync::LazyLock;

use published::{Errors, Scored, groups, print, score, violations};
use roofline::cost::coefficients::Coefficients;

static SCORED: LazyLock<Vec<Scored>> = LazyLock::new(|| {
    let text = include_str!("fixtures/published-runs.json");
    score(
        &serde_json::from_str(text).expect("JSON"),
        Coefficients::default(),
    )
});

#[test]
fn expected_times_meet_published_runs() {
    let groups = groups(&SCORED);
    print(&groups);
    for (name, group) in groups.iter().filter(|(name, _)| !name.contains(" on ")) {
        let tpot = Errors::of(group.iter().map(|scored| scored.tpot));
        assert!(
            tpot.bias.abs() <= 5.0,
            "{name}: TPOT is off by {:+.1} % on average",
            tpot.bias
        );
    }
    let tpot = Errors::of(SCORED.iter().map(|scored| scored.tpot));
    let ttft = Errors::of(SCORED.iter().map(|scored| scored.ttft));
    assert!(tpot.mean <= 6.0 && tpot.median <= 4.0, "TPOT: {tpot:?}");
    assert!(ttft.mean <= 15.0, "TTFT: {ttft:?}");
}

#[test]
fn no_run_beats_its_bounds() {
    assert_eq!(violations(&SCORED), [""; 0]);
}
