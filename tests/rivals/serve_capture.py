"""Serves one phase of a capture in its own time, as vLLM and as a dcgm-exporter, to whoever asks.

    serve_capture.py CAPTURE PHASE VLLM_PORT DCGM_PORT        PHASE `idle` holds the last page, when all requests are done
"""

import gzip
import json
import re
import sys
import threading
import time
from bisect import bisect_right
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SAMPLE = re.compile(r"^(vllm:\w+)")
HISTOGRAM = re.compile(r"_(bucket|sum|count)$")
# dcgm-exporter's name → what a recording has, in its unit.
FIELDS = {
    "DCGM_FI_DEV_SM_CLOCK": lambda line: line.get("sm_clock_mhz"),
    "DCGM_FI_DEV_MEM_CLOCK": lambda line: line.get("mem_clock_mhz"),
    "DCGM_FI_DEV_POWER_USAGE": lambda line: line.get("power_milliwatts", 0) / 1e3,
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": lambda line: line.get("energy_millijoules"),
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": lambda line: share(line, "graphics_util"),
    "DCGM_FI_PROF_DRAM_ACTIVE": lambda line: share(line, "dram_bw_util"),
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": lambda line: share(line, "any_tensor_util"),
}


def share(line, name):
    percent = line.get("gpm", {}).get(name)
    return None if percent is None else percent / 100


def lines(path):
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def typed(body):
    """The page with the TYPE lines that a recording may leave out."""
    if "# TYPE vllm:" in body:
        return body
    page, family = [], None
    for line in body.splitlines():
        sample = SAMPLE.match(line)
        name = sample and HISTOGRAM.sub("", sample[1])
        if name and name != family:
            family = name
            kind = "histogram" if name != sample[1] else "counter" if name.endswith("_total") else "gauge"
            page.append(f"# TYPE {name} {kind}")
        page.append(line)
    return "\n".join(page) + "\n"


class Recording:
    def __init__(self, capture, phase):
        manifest = json.loads((capture / "capture.json").read_text())
        pages = [line for line in lines(capture / "vllm.jsonl.gz") if "body" in line]
        self.gpus = lines(capture / "gpu.jsonl.gz")
        # A recording has what is not vLLM's own once, where it has it: the marks of a process that serves alone.
        whole = pages[0]["body"].splitlines(keepends=True)
        self.process = "".join(line for line in whole if "vllm:" not in line)
        self.gpu = manifest["gpu"]["name"]
        self.model = manifest["vllm_args"][1]
        if phase == "idle":
            self.pages, self.start, self.end = pages[-1:], pages[-1]["t_end"], pages[-1]["t_end"]
        else:
            own = next(each for each in manifest["phases"] if each["name"] == phase)
            self.start, self.end = own["t_start"] + 1, own["t_load_end"]
            self.pages = [page for page in pages if self.start - 1 <= page["t_end"] <= self.end]
        self.began = None

    def now(self):
        """The time of the recording. It begins with the first question, and the end of the phase lasts."""
        self.began = self.began or time.monotonic()
        return min(self.start + time.monotonic() - self.began, self.end)

    def page(self):
        times = [page["t_end"] for page in self.pages]
        place = bisect_right(times, self.now())
        return self.process + typed(self.pages[max(place - 1, 0)]["body"])

    def dcgm(self):
        line = self.gpus[max(bisect_right([line["t"] for line in self.gpus], self.now()) - 1, 0)]
        labels = f'gpu="0",UUID="GPU-0",modelName="{self.gpu}"'
        values = {name: of(line) for name, of in FIELDS.items()}
        return "".join(f"{name}{{{labels}}} {value}\n" for name, value in values.items() if value is not None)


def handler(answers):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers.get(self.path.split("?")[0].rstrip("/"))
            body = answer().encode() if answer else b""
            self.send_response(200 if answer else 404)
            self.send_header("Content-Type", "application/json" if body[:1] == b"{" else "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def main(capture, phase, vllm_port, dcgm_port):
    recording = Recording(Path(capture), phase)
    models = json.dumps({"object": "list", "data": [{"id": recording.model, "root": recording.model, "object": "model"}]})
    vllm = {
        "/metrics": recording.page,
        "/v1/models": lambda: models,
        "/version": lambda: '{"version": "0.25.0"}',
        "/health": lambda: "",
    }
    servers = [(vllm_port, vllm), (dcgm_port, {"/metrics": recording.dcgm})]
    for port, answers in servers:
        server = ThreadingHTTPServer(("127.0.0.1", int(port)), handler(answers))
        threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
