"""The demo's metrics by way of a real Collector, scraped and pushed, against those of /metrics."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket

PATIENCE_S = 60
SAMPLE = re.compile(r"^(vllm_roofline_\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# What a Collector says of a scrape by itself, and where it scraped.
ADDED = {"instance", "job"}


def free_port():
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(*command, **environment):
    process = subprocess.Popen(command, env=os.environ | environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


class Sink(BaseHTTPRequestHandler):
    """Keeps the newest points of every series, by the path that they were sent to."""

    received = {}
    services = {}
    lock = threading.Lock()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = self.path.split("/")[1]
        with self.lock:
            for resource in body["resourceMetrics"]:
                attributes = labels_of(resource.get("resource", {}).get("attributes", []))
                self.services[kind] = attributes.get("service.name")
                newest = {}
                for scope in resource["scopeMetrics"]:
                    for metric in scope["metrics"]:
                        newest |= points(metric)
                if newest:
                    self.received[kind] = newest
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def labels_of(attributes):
    return {each["key"]: each["value"].get("stringValue") for each in attributes}


def points(metric):
    """The points of a metric: (name, labels) → (type, value)."""
    if not metric["name"].startswith("vllm_roofline_"):
        return {}
    total = metric.get("sum")
    data = total or metric["gauge"]
    kind = "gauge"
    if total:
        assert total["aggregationTemporality"] == 2 and total["isMonotonic"], metric["name"]
        kind = "counter"
    found = {}
    for point in data["dataPoints"]:
        labels = {name: value for name, value in labels_of(point.get("attributes", [])).items() if name not in ADDED and value}
        value = point.get("asDouble", point.get("asInt"))
        if value is not None:
            found[metric["name"], frozenset(labels.items())] = kind, float(value)
    return found


def page(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    series = {}
    for line in text.splitlines():
        sample = SAMPLE.match(line)
        if sample:
            name, labels, value = sample.groups()
            known = {(label, text) for label, text in LABEL.findall(labels or "") if text}
            series[name, frozenset(known)] = kinds[name], float(value)
    return series


def agrees(received, before, after):
    """What differs between what arrived and what every page in that time had. A counter lies between its values on both."""
    problems = []
    for key in before.keys() & after.keys():
        if key not in received:
            problems.append(f"missing: {key}")
            continue
        kind, value = received[key]
        if kind != before[key][0]:
            problems.append(f"{key} is a {kind}")
        elif kind == "counter" and not before[key][1] * (1 - 1e-6) <= value <= after[key][1] * (1 + 1e-6):
            problems.append(f"{key}: {value} is not within {before[key][1]} and {after[key][1]}")
    problems += [f"unknown: {key}" for key in received if key not in before and key not in after]
    return problems


def collector_config(exporter, otlp, sink):
    def out(path):
        return {"metrics_endpoint": f"http://127.0.0.1:{sink}/{path}", "encoding": "json", "compression": "none"}

    scrape = {"job_name": "roofline", "scrape_interval": "1s", "static_configs": [{"targets": [exporter]}]}
    return {
        "receivers": {
            "prometheus": {"config": {"scrape_configs": [scrape]}},
            "otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{otlp}"}}},
        },
        "exporters": {"otlphttp/scraped": out("scraped"), "otlphttp/pushed": out("pushed")},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
            "pipelines": {
                "metrics/scraped": {"receivers": ["prometheus"], "exporters": ["otlphttp/scraped"]},
                "metrics/pushed": {"receivers": ["otlp"], "exporters": ["otlphttp/pushed"]},
            },
        },
    }


def wait_for_agreement(kind, exporter):
    """Whole pages within a few seconds of each other: series come and go while the demo changes its load."""
    deadline = time.monotonic() + PATIENCE_S
    problems = ["nothing arrived"]
    while time.monotonic() < deadline:
        before = page(exporter)
        with Sink.lock:
            Sink.received.pop(kind, None)
        while kind not in Sink.received and time.monotonic() < deadline:
            time.sleep(0.1)
        after = page(exporter)
        with Sink.lock:
            received = Sink.received.get(kind, {})
        problems = agrees(received, before, after)
        if not problems and len(received) > 150:
            print(f"{kind}: {len(received)} series as on /metrics, service.name {Sink.services[kind]}")
            return 0
    print(f"{kind}: {len(problems)} problems, the first:", *problems[:10], sep="\n  ")
    return 1


def main(collector, program):
    exporter, vllm, otlp = (f"127.0.0.1:{free_port()}" for _ in range(3))
    sink = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    config = collector_config(exporter, otlp.split(":")[1], sink.server_port)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(config, file)
        file.flush()
        push = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{otlp}", "OTEL_METRIC_EXPORT_INTERVAL": "1000"}
        demo = (program, "demo", "--web.listen-address", exporter, "--vllm-port", vllm.split(":")[1])
        with running(collector, "--config", file.name), running(*demo, **push):
            time.sleep(5)
            failed = sum(wait_for_agreement(kind, exporter) for kind in ("scraped", "pushed"))
    print(f"{2 - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
