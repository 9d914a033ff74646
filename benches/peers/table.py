#!/usr/bin/env python3
"""Prints the median speed of each parser, and how often ours is as fast, beside the budget."""

import statistics
import sys

# How often we are to be as fast: reading the whole page, or only what is needed.
BUDGETS = [
    ("ours, full", "VictoriaMetrics", 1),
    ("ours, full", "PromParser", 3),
    ("ours, full", "expfmt", 25),
    ("ours, full", "Python client", 150),
    ("ours, needed", "VictoriaMetrics", 2),
]

speeds = {}
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        name, speed = line.rstrip("\n").split("\t")
        speeds.setdefault(name, []).append(float(speed))
medians = {name: statistics.median(speed) for name, speed in speeds.items()}

print(f"{'parser':<18}{'MB/s':>8}")
for name, speed in medians.items():
    print(f"{name:<18}{speed:>8.1f}")
print()
print(f"{'ratio':<34}{'measured':>9}{'budget':>8}")
for ours, theirs, budget in BUDGETS:
    ratio = medians[ours] / medians[theirs]
    print(f"{ours + ' / ' + theirs:<34}{ratio:>8.1f}×{'≥ ' + str(budget) + '×':>8}")
