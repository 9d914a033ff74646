#!/usr/bin/env python3
"""Prints the speed that criterion measured, in MB/s."""

import json
import os
import sys

estimates, page, name = sys.argv[1:]
with open(estimates, encoding="utf-8") as file:
    nanoseconds = json.load(file)["median"]["point_estimate"]
print(f"{name}\t{os.path.getsize(page) / nanoseconds * 1e3:.3f}")
