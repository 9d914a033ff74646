#!/usr/bin/env python3
"""Makes what fuzzing starts from, in the directory given out of tests/fixtures: small pieces of real files."""

import gzip
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "tests/fixtures"
TOTALS = ROOT / "crates/roofline/tests/fixtures/model-totals.json"
# Of a recorded page: as much as a fuzzer can turn over thousands of times a second.
LINES_OF_A_PAGE = 60


def write(target, name, content):
    directory = Path(sys.argv[1], target)
    directory.mkdir(parents=True, exist_ok=True)
    content = content if isinstance(content, bytes) else content.encode()
    (directory / name).write_bytes(content)


def pages():
    for file in sorted((FIXTURES / "vllm").iterdir()):
        lines = file.read_text().splitlines(keepends=True)
        for start in range(0, len(lines), LINES_OF_A_PAGE):
            write("exposition", f"{file.stem}-{start}", "".join(lines[start : start + LINES_OF_A_PAGE]))


def needed(body):
    """The lines of a page that figures are made of; of histograms the buckets that say something."""
    lines = [line for line in body.splitlines() if line.startswith("vllm:") and not line.endswith(" 0.0")]
    return "\n".join(lines) + "\n"


def captures():
    for directory in sorted((FIXTURES / "captures").iterdir()):
        manifest, config = (directory / "capture.json").read_bytes(), (directory / "config.json").read_bytes()
        with gzip.open(directory / "vllm.jsonl.gz", "rt") as file:
            scrapes = [json.loads(line) for line in file][:4]
        with gzip.open(directory / "gpu.jsonl.gz", "rb") as file:
            readings = b"".join(file.readlines()[:4])
        for scrape in scrapes:
            scrape["body"] = needed(scrape["body"])
        recorded = "".join(json.dumps(scrape) + "\n" for scrape in scrapes).encode()
        write("capture", directory.name, b"\0".join([manifest, config, recorded, readings]))
        write("capture", f"{directory.name}.gz", gzip.compress(recorded, mtime=0))
        write("page", directory.name, "\0".join(scrape["body"] for scrape in scrapes))
        words = json.loads(manifest)["vllm_args"]
        write("command_line", directory.name, "\0".join(words))
        write("model", directory.name, config + b"\0" + " ".join(words).encode())


def models():
    for fixture in [FIXTURES / "static-cases.json", FIXTURES / "static-variants.json", TOTALS]:
        listed = json.loads(fixture.read_text())
        cases = listed["cases"] if isinstance(listed, dict) else listed
        for number, case in enumerate(cases):
            write("model", f"{fixture.stem}-{number}", json.dumps(case["config"]))


def results():
    for file in sorted((FIXTURES / "bench").iterdir()):
        write("results", file.name, file.read_bytes())


LABELS = {
    "dcgm": 'gpu="0",UUID="GPU-a",modelName="NVIDIA H100 80GB HBM3",namespace="models",pod="vllm-0"',
    "dcgm-mig": 'gpu="1",UUID="GPU-b",GPU_I_PROFILE="1g.10gb",GPU_I_ID="7"',
    "gpu": 'gpu_id="0",card_model="AMD Instinct MI300X",serial_number="SN-0",clock_type="GPU_CLOCK_TYPE_SYSTEM"',
}


def gpus():
    """No page is recorded, so every name that is known stands on one."""
    known = re.findall(r'"((?:dcgm|gpu)_\w+)"', (ROOT / "src/source/gpu/dcgm/fields.rs").read_text())
    for kind, labels in LABELS.items():
        names = [name for name in [*known, "gpu_clock"] if name.startswith(kind.split("-")[0])]
        for start in range(0, len(names), 12):
            lines = [f"{name.upper() if kind != 'gpu' else name}{{{labels}}} {start}.5" for name in names[start : start + 12]]
            write("dcgm", f"{kind}-{start}", "\n".join(lines) + "\n")


for make in [pages, captures, models, results, gpus]:
    make()
