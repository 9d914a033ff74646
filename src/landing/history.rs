//! The last hour as small charts: a ribbon of bounds, and a line for each figure.

use std::fmt::Write;

use crate::snapshot::before_after::BeforeAfter;
use crate::snapshot::history::{History, HistoryPoint};
use roofline::bound::Bound;

/// Size of a chart in its own units; it is stretched to the available width.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 56.0;
/// Points further apart than this are not connected: there is no measurement between them.
const FARTHEST: f64 = 30.0;

/// One figure over time.
pub(super) struct HistoryLine {
    pub(super) name: &'static str,
    /// The newest value, as text.
    pub(super) now: String,
    /// The largest value, which is the top of the chart.
    pub(super) most: String,
    pub(super) svg: String,
}

/// The bounds over time.
pub(super) struct Ribbon {
    pub(super) svg: String,
    pub(super) minutes: String,
    /// The bounds in the ribbon: the CSS class of their colour, and their name.
    pub(super) key: Vec<(&'static str, String)>,
}

/// The ribbon of `history`; `None` with fewer than two points.
pub(super) fn ribbon(history: &History, events: &[BeforeAfter]) -> Option<Ribbon> {
    let scale = Scale::of(history)?;
    let mut svg = format!(
        r#"<svg class="ribbon" viewBox="0 0 {WIDTH} 10" preserveAspectRatio="none" role="img" aria-label="what bound the engine over time">"#
    );
    let points: Vec<&HistoryPoint> = history.points().collect();
    let shown = |bound: &&Bound| points.iter().skip(1).any(|point| point.bound == **bound);
    let key = Bound::ALL.iter().filter(shown);
    for pair in points.windows(2) {
        let (from, to) = (scale.x(pair[0].time.0), scale.x(pair[1].time.0));
        if pair[1].time.0 - pair[0].time.0 > FARTHEST {
            continue;
        }
        let bound = pair[1].bound;
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            r#"<rect class="b-{}" x="{from:.1}" y="0" width="{:.1}" height="10"><title>{}</title></rect>"#,
            bound.as_str(),
            to - from + 0.2,
            spoken(bound)
        );
    }
    svg.push_str(&marks(&scale, events, 10.0));
    svg.push_str("</svg>");
    Some(Ribbon {
        svg,
        minutes: format!("{:.0}", (scale.span / 60.0).ceil()),
        key: key.map(|bound| (colour(*bound), spoken(*bound))).collect(),
    })
}

/// The CSS class of a bound's colour: that of its component of time.
const fn colour(bound: Bound) -> &'static str {
    match bound {
        Bound::MemoryBandwidth => "memory",
        Bound::Interconnect => "communication",
        other => other.as_str(),
    }
}

/// A bound as words.
fn spoken(bound: Bound) -> String {
    bound.as_str().replace('_', " ")
}

/// Reads a figure from a point.
type PickFigure = fn(&HistoryPoint) -> Option<f32>;
/// Formats a figure.
type Show<'a> = &'a dyn Fn(f64) -> String;

/// The figures of `history` that have values.
pub(super) fn lines(history: &History, events: &[BeforeAfter]) -> Vec<HistoryLine> {
    let rate = |value: f64| format!("{value:.0}");
    let percent = |value: f64| format!("{:.0} %", value * 100.0);
    let watts = |value: f64| format!("{value:.0} W");
    let drawn: [(&'static str, PickFigure, Show<'_>); 7] = [
        (
            "output tok/s",
            |point| point.output_tokens_per_second,
            &rate,
        ),
        (
            "TTFT mean",
            |point| point.ttft_mean_seconds,
            &super::figures::duration,
        ),
        (
            "TPOT mean",
            |point| point.tpot_mean_seconds,
            &super::figures::duration,
        ),
        ("KV cache used", |point| point.kv_cache_usage, &percent),
        ("running", |point| point.running, &rate),
        ("waiting", |point| point.waiting, &rate),
        ("power", |point| point.power_watts, &watts),
    ];
    drawn
        .into_iter()
        .filter_map(|(name, pick, show)| line(history, events, name, pick, show))
        .collect()
}

fn line(
    history: &History,
    events: &[BeforeAfter],
    name: &'static str,
    pick: PickFigure,
    show: Show<'_>,
) -> Option<HistoryLine> {
    let scale = Scale::of(history)?;
    let values = || {
        history
            .points()
            .filter_map(|point| Some((point.time.0, f64::from(pick(point)?))))
    };
    let most = values().map(|(_, value)| value).reduce(f64::max)?;
    let top = if most > 0.0 { most } else { 1.0 };
    let mut path = String::new();
    let mut last = f64::NEG_INFINITY;
    for (time, value) in values() {
        let command = if time - last > FARTHEST { 'M' } else { 'L' };
        let y = HEIGHT - 2.0 - value / top * (HEIGHT - 4.0);
        // Writing to a String cannot fail.
        let _ = write!(path, "{command}{:.1} {y:.1}", scale.x(time));
        last = time;
    }
    let newest = history.points().next_back().and_then(pick);
    Some(HistoryLine {
        name,
        now: newest.map_or_else(|| "–".to_owned(), |value| show(f64::from(value))),
        most: show(most),
        svg: format!(
            r#"<svg class="line" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{name} over time"><path d="{path}" vector-effect="non-scaling-stroke"/>{}</svg>"#,
            marks(&scale, events, HEIGHT)
        ),
    })
}

/// A vertical line at each event.
fn marks(scale: &Scale, events: &[BeforeAfter], height: f64) -> String {
    let mark = |happened: &BeforeAfter| {
        let x = scale.x(happened.event.time.0);
        let kind = happened.event.kind.as_str();
        format!(
            r#"<line class="event" x1="{x:.1}" y1="0" x2="{x:.1}" y2="{height}" vector-effect="non-scaling-stroke"><title>{kind}</title></line>"#
        )
    };
    events.iter().map(mark).collect()
}

/// The horizontal axis: time.
struct Scale {
    first: f64,
    span: f64,
}

impl Scale {
    fn of(history: &History) -> Option<Self> {
        let first = history.points().next()?.time.0;
        let span = history.points().next_back()?.time.0 - first;
        (span > 0.0).then_some(Self { first, span })
    }

    fn x(&self, time: f64) -> f64 {
        ((time - self.first) / self.span).clamp(0.0, 1.0) * WIDTH
    }
}
