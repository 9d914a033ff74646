"""A sidecar as one would write it in Python: reads vLLM's page once a second, and serves what it read."""

import sys
import time
import urllib.request

from prometheus_client import CollectorRegistry, Gauge, start_http_server
from prometheus_client.parser import text_string_to_metric_families

registry = CollectorRegistry()
server, _ = start_http_server(0, addr="127.0.0.1", registry=registry)
print(f"serving on http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
gauges = {}
while True:
    with urllib.request.urlopen(sys.argv[1]) as answer:
        page = answer.read().decode()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            name = "sidecar_" + sample.name.replace(":", "_")
            if name not in gauges:
                gauges[name] = Gauge(name, family.documentation, list(sample.labels), registry=registry)
            labels = sample.labels
            (gauges[name].labels(**labels) if labels else gauges[name]).set(sample.value)
    time.sleep(1)
