#!/usr/bin/env python3
"""Prints how long a whole `static` takes, from the start of its process to the end: the median of fifty."""

import statistics
import subprocess
import sys
import time

COMMAND = [sys.argv[1], "static", "--model", "config/demo", "--gpu", "H100", "--format", "json"]

took = []
for _ in range(50):
    started = time.perf_counter()
    subprocess.run(COMMAND, stdout=subprocess.DEVNULL, check=True)
    took.append(1e3 * (time.perf_counter() - started))
print(f"static, process\t{statistics.median(took):.2f}\tms")
