//! Cost of tokens: dollars and joules of the embedded recording, compared with its own clock and energy counter.

use roofline::units::Seconds;
use vllm_roofline_exporter::capture::format::GpuLine;
use vllm_roofline_exporter::capture::read::Capture;
use vllm_roofline_exporter::command::replay::{Replay, replay};
use vllm_roofline_exporter::config::Settings;
use vllm_roofline_exporter::meter::figures::Figures;

fn replayed(gpu_hour_price: Option<f64>) -> Replay {
    let settings = Settings {
        gpu_hour_price,
        ..Settings::defaults().unwrap()
    };
    replay(&Capture::demo().unwrap(), &settings).unwrap()
}

/// Cost of the tokens of `window` at these rates.
fn of_tokens(window: &Figures, prefill: Option<f64>, decode: Option<f64>) -> f64 {
    let output_tokens = window.output_tokens_per_second.unwrap_or_default() * window.seconds.0;
    prefill.unwrap_or_default() * window.prefill_tokens + decode.unwrap_or_default() * output_tokens
}

/// Joules by the GPU's counter between two times, from the nearest readings.
fn counted_joules(capture: &Capture, from: Seconds, to: Seconds) -> f64 {
    let at = |time: Seconds| {
        let distance = |line: &&GpuLine| (line.t - time.0).abs();
        let readings = capture.readings.iter();
        let nearest = readings.min_by(|a, b| distance(a).total_cmp(&distance(b)));
        nearest.unwrap().energy_millijoules.unwrap() / 1e3
    };
    at(to) - at(from)
}

#[test]
fn tokens_pay_for_all_dollars_and_all_joules() {
    let (capture, replay) = (Capture::demo().unwrap(), replayed(Some(3.6)));
    for phase in &replay.phases {
        let (cost, name) = (&phase.cost, phase.name.as_deref().unwrap());
        let dollars = cost.dollars_per_million_tokens;
        let paid = of_tokens(phase, dollars.prefill, dollars.decode) / 1e6;
        let due = phase.seconds.0 * 0.001;
        assert!((paid / due - 1.0).abs() < 1e-6, "{name}: {paid} of {due}");
        let joules = cost.joules_per_token;
        let used = of_tokens(phase, joules.prefill, joules.decode);
        let counted = counted_joules(&capture, phase.t_start, phase.t_end);
        assert!(
            (used / counted - 1.0).abs() < 0.05,
            "{name}: {used} J of {counted}"
        );
    }
}

#[test]
fn what_is_wasted_is_the_price_of_the_time_that_nothing_limits() {
    for window in replayed(Some(3.6)).phases {
        let time = window.time_seconds.unwrap();
        let useful = time.compute + time.memory + time.communication;
        let wasted: f64 = window.cost.wasted_dollars_per_hour.values().sum();
        let expected = 3.6 * (1.0 - useful / window.seconds);
        assert!((wasted - expected).abs() < 0.05, "{wasted} of {expected}");
    }
}

#[test]
fn a_list_price_is_named_with_seller_and_day_and_the_users_wins() {
    let listed = &replayed(None).phases[0].cost;
    let origin = listed.price_origin.as_deref().unwrap();
    assert!(
        origin.starts_with("list price of ") && origin.contains("-20"),
        "{origin}"
    );
    let own = &replayed(Some(1.5)).phases[0].cost;
    assert_eq!(own.price_origin.as_deref(), Some("configured"));
    assert_eq!(own.dollars_per_hour, Some(1.5));
}
