#!/usr/bin/env python3
"""Prints what was measured as a Markdown table, beside peers and budgets; with --write, puts it into docs/performance.md."""

import os
import re
import statistics
import sys
from datetime import date
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs/performance.md"
SECTION = re.compile(r"(<!-- cost -->\n).*(<!-- /cost -->)", re.DOTALL)

measured, units, missing = {}, {}, []
for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
    name, value, *unit = line.split("\t")
    if name.startswith("missing, "):
        missing.append(f"{name.removeprefix('missing, ')} ({value})")
    else:
        measured.setdefault(name, []).append(float(value))
        units[name] = unit[0] if unit else ""
value = {name: statistics.median(values) for name, values in measured.items()}
rows = []


def shown(number, name):
    digits = 0 if number >= 100 else 1 if number >= 10 else 2 if number >= 1 else 3
    return f"{number:,.{digits}f} {units[name]}".rstrip()


def row(what, ours, peer, budget, met):
    rows.append(f"| {what} | {ours} | {peer} | {budget} | {'' if met is None else 'yes' if met else '**no**'} |")


def limit(what, name, most, budget, scale=1):
    """A budget that stands by itself."""
    if name in value:
        row(what, shown(value[name], name), "", budget, value[name] < most * scale)
    else:
        row(what, "missing", "", budget, None)


def beside(what, ours, theirs, title, budget=None, at_least=None, at_most=None):
    """Ours beside a peer's; the budget is on ours / theirs."""
    if ours not in value or theirs not in value:
        return row(what, shown(value[ours], ours) if ours in value else "missing", f"{title}: missing", budget or "", None)
    ratio = value[ours] / value[theirs]
    met = None
    if at_least is not None:
        met = ratio >= at_least
    if at_most is not None:
        met = ratio <= at_most
    peer = f"{title} {shown(value[theirs], theirs)}: {ratio:.{0 if ratio >= 100 else 1 if ratio >= 10 else 2}f}×"
    return row(what, shown(value[ours], ours), peer, budget or "", met)


PARSE = "parsing a page of 55 KB, every label"
beside(PARSE, "parse, ours", "VictoriaMetrics", "VictoriaMetrics", "≥ 1×", at_least=1)
beside("", "parse, ours", "PromParser", "PromParser", "≥ 3×", at_least=3)
beside("", "parse, ours", "expfmt", "expfmt", "≥ 25×", at_least=25)
beside("", "parse, ours", "Python client", "Python client", "≥ 150×", at_least=150)
beside("", "parse, ours", "openmetrics-parser", "openmetrics-parser")
beside("only what is needed of it", "parse, ours needed", "VictoriaMetrics", "VictoriaMetrics", "≥ 2×", at_least=2)
limit("a tick, one engine, page to rendered page", "tick, hot", 300, "< 300 µs")
limit("the same with cold caches", "tick, cold", 700, "< 700 µs")
limit("the same with 64 engines", "tick, 64 engines", 5, "< 5 ms")
beside("`GET /metrics`, 1,000 a second, P99", "p99 at 1,000/s, ours", "p99 at 1,000/s, bare axum", "bare axum", "≤ 1.3×", at_most=1.3)
beside("the same, CPU of an answer", "CPU per answer, ours", "CPU per answer, bare axum", "bare axum")
for name, what, limits in [
    ("ours", "scraped once a second", (0.1, 10)),
    ("ours, 1 GPU", "the same with a made-up driver, 1 GPU", (0.4, 20)),
    ("ours, 8 GPUs", "the same, 8 GPUs", (2.5, 20)),
]:
    limit(f"{what}: CPU", f"steady CPU, {name}", limits[0], f"< {limits[0]} %")
    limit(f"{what}: resident", f"resident, {name}", limits[1], f"< {limits[1]} MiB")
for peer in ["bare axum", "node_exporter", "Python sidecar"]:
    for what, name in [("CPU", "steady CPU"), ("resident", "resident")]:
        beside(f"{what}, beside {peer}", f"{name}, ours", f"{name}, {peer}", peer)
beside("a scrape of vLLM, only what is needed", "scrape, needed", "scrape, whole", "the whole page", "≤ ⅓", at_most=1 / 3)
limit("binary", "binary", 10e6, "< 10 MB")
limit("`static`, the whole process", "static, process", 10, "< 10 ms")
limit("a grid of a million steps", "static, grid", 2000, "< 2 s")

model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
lines = [
    f"Measured by `benches/run.sh` on {date.today()}, {len(os.sched_getaffinity(0))} cores ({model}), all peers in the same run.",
    "",
    "| what | ours | beside | budget | met |",
    "|---|--:|--:|--:|---|",
    *rows,
    "",
]
counts = [f"{value[name]:,.0f} {text}" for name, text in [
    ("instructions, full", "for the page"), ("instructions, needed", "for what is needed of it"), ("instructions, tick", "for a tick"),
] if name in value]
if counts:
    lines += [f"Instructions, which no other load on the machine changes: {', '.join(counts)}.", ""]
if missing:
    lines += [f"Missing: {'; '.join(missing)}.", ""]
table = "\n".join(lines)
print(table)
if "--write" in sys.argv:
    DOCUMENT.write_text(SECTION.sub(lambda found: found[1] + table + found[2], DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
