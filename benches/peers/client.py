"""Parses one page over and over with the Python client and prints MB/s."""

import statistics
import sys
import timeit

from prometheus_client.parser import text_string_to_metric_families

with open(sys.argv[1], encoding="utf-8") as file:
    page = file.read()


def parse():
    return sum(len(family.samples) for family in text_string_to_metric_families(page))


assert parse() > 0
seconds = statistics.median(timeit.repeat(parse, number=1, repeat=50))
print(f"Python client\t{len(page.encode()) / seconds / 1e6:.3f}\tMB/s")
