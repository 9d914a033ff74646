//! The live output for every recording: the bound of the newest seconds, without flapping, and the host's share as the GPU itself measures
//! it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use roofline::bound::{Bound, TimeSeconds};
use roofline::units::Seconds;
use vllm_roofline_exporter::capture::format::CapturePhase;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::command::replay;
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::meter::account::TimeSpent;
use vllm_roofline_exporter::meter::spans::AccountedSpan;
use vllm_roofline_exporter::meter::{backfill, verdict};
use vllm_roofline_exporter::player::CapturePlayer;

use crate::captures::captures_in;

/// If shares of busy time differ by less than this, either may be the larger.
const CLOSE: f64 = 0.1;
/// Maximum delay of a page after its tick.
const JITTER: f64 = 0.05;

fn recordings() -> Vec<(String, Capture)> {
    let mut recordings = captures_in("tests/fixtures/captures");
    recordings.extend(captures_in("tests/fixtures/captures-h200"));
    recordings.push(("demo".to_owned(), Capture::demo().unwrap()));
    recordings
}

/// The accounted spans of a recording, with every prompt's work where it ran, and the bounds shown meanwhile.
struct Played {
    spans: Vec<AccountedSpan>,
    shown: Vec<(f64, Bound)>,
}

impl Played {
    fn of(capture: &Capture, settings: &Settings) -> Self {
        let player = CapturePlayer::new(capture, settings).unwrap();
        let mut spans = player.play(f64::NEG_INFINITY, f64::INFINITY);
        backfill::settle(&mut spans);
        let shown = replay::bounds(capture, settings).unwrap();
        let shown = shown.into_iter().map(|(time, bound)| (time.0, bound));
        Self {
            spans,
            shown: shown.collect(),
        }
    }

    /// The bounds shown from `warm_up` seconds after the start of `phase` on.
    fn shown_in(&self, phase: &CapturePhase, warm_up: f64) -> Vec<(f64, Bound)> {
        let inside = phase.t_start + warm_up..=phase.t_load_end;
        let shown = self.shown.iter().copied();
        shown.filter(|(time, _)| inside.contains(time)).collect()
    }

    /// The five seconds up to `now`, by component.
    fn recently(&self, now: f64) -> TimeSpent {
        let mut spent = TimeSpent::default();
        for span in &self.spans {
            if span.start.0 >= now - 5.5 && span.end.0 <= now + JITTER {
                spent.add(&span.account.time_spent());
            }
        }
        spent
    }

    /// Whether nothing ran between the previous reading and `now`.
    fn is_idle(&self, now: f64) -> bool {
        let newest = self
            .spans
            .iter()
            .find(|span| (span.end.0 - now).abs() < JITTER);
        newest.is_some_and(|span| span.account.busy <= Seconds::ZERO)
    }
}

/// Whether the two largest components are too close to decide.
fn is_close(spent: &TimeSpent, overhead_below: f64) -> bool {
    let time = spent.busy_time.unwrap();
    let unsplit = time.overhead > Seconds::ZERO;
    let explained = time.roofline().0 / spent.busy.0;
    let rest = [time.host, time.kernel_latency];
    let parts = [time.compute, time.memory, time.communication];
    let mut shares: Vec<f64> = parts
        .into_iter()
        .chain(rest.into_iter().filter(|_| !unsplit))
        .map(|part| part.0 / spent.busy.0)
        .collect();
    shares.sort_by(|one, other| other.total_cmp(one));
    let near_threshold = unsplit && (explained - overhead_below).abs() < CLOSE;
    near_threshold || shares[0] - shares[1] < CLOSE
}

#[test]
fn the_live_bound_is_right_five_seconds_after_a_load_changed() {
    let settings = Settings::defaults().unwrap();
    let mut judged_in_all = 0;
    for (name, capture) in recordings() {
        let played = Played::of(&capture, &settings);
        let mut wrong = Vec::new();
        let mut judged = 0;
        for phase in &capture.manifest.phases {
            for (time, bound) in played.shown_in(phase, 5.0) {
                let spent = played.recently(time);
                let right = if played.is_idle(time) {
                    Bound::Idle
                } else if is_close(&spent, settings.overhead_below) {
                    continue;
                } else {
                    verdict::bound(&spent, settings.overhead_below)
                };
                judged += 1;
                if bound != right {
                    wrong.push((phase.name.clone(), time - phase.t_start, bound, right));
                }
            }
        }
        assert!(wrong.len() * 50 <= judged, "{name}: of {judged} {wrong:?}");
        judged_in_all += judged;
    }
    assert!(judged_in_all >= 300, "{judged_in_all}");
}

#[test]
fn the_live_bound_does_not_flap() {
    let settings = Settings::defaults().unwrap();
    for (name, capture) in recordings() {
        let played = Played::of(&capture, &settings);
        for phase in &capture.manifest.phases {
            // Idle is correct for a second without requests.
            let shown = played.shown_in(phase, 2.0).into_iter();
            let running: Vec<Bound> = shown
                .map(|(_, bound)| bound)
                .filter(|bound| *bound != Bound::Idle)
                .collect();
            let flaps = running
                .windows(3)
                .any(|ticks| ticks[0] == ticks[2] && ticks[0] != ticks[1]);
            assert!(!flaps, "{name} {}: {running:?}", phase.name);
        }
    }
}

/// Share of the busy time of `time`, from `start` for `seconds`, in which no kernel ran.
fn without_kernel(capture: &Capture, start: f64, seconds: f64, time: &TimeSeconds) -> Option<f64> {
    let mut active = 0.0;
    for pair in capture.readings.windows(2) {
        let overlap = pair[1].t.min(start + seconds) - pair[0].t.max(start);
        let share = pair[1].gpm.as_ref()?.graphics_util? / 100.0;
        active += overlap.max(0.0) * share;
    }
    let busy = seconds - time.idle.0 - time.stalled.0;
    Some((busy - active).max(0.0) / busy)
}

#[test]
fn the_share_of_the_host_is_the_time_without_a_kernel() {
    let settings = Settings::defaults().unwrap();
    let mut compared = 0;
    for (name, capture) in recordings() {
        for phase in &replay::replay(&capture, &settings).unwrap().phases {
            let time = phase.time_seconds.unwrap();
            let measured = without_kernel(&capture, phase.t_start.0, phase.seconds.0, &time);
            let Some(without) = measured else {
                assert_eq!(time.host, None, "{name}");
                continue;
            };
            let busy = phase.seconds - time.idle - time.stalled;
            let host = time.host.unwrap() / busy;
            let place = format!("{name} {:?}: {host} and {without}", phase.name);
            assert!((host - without).abs() < 0.02, "{place}");
            assert!(time.overhead.0.abs() < 1e-9, "{place}");
            compared += 1;
        }
    }
    assert!(compared >= 20, "{compared}");
}
