"""Prints a Markdown table: each case by `static` and by its peers."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def predicted(binary, case):
    with tempfile.TemporaryDirectory() as directory:
        files = {"CONFIG_JSON": Path(directory, "config.json"), "REQUESTS_JSON": Path(directory, "requests.json")}
        files["CONFIG_JSON"].write_text(json.dumps(case["config"]))
        files["REQUESTS_JSON"].write_text(json.dumps(case["requests"]))
        words = [str(files.get(word, word)) for word in case["cli"]]
        run = subprocess.run([binary, *words], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)["step"]


def milliseconds(answer):
    return f"{1e3 * answer['seconds']:.2f}" if "seconds" in answer else "–"


def main():
    binary, cases, vllm, aiconfigurator = sys.argv[1:]
    vllm, aiconfigurator = json.load(open(vllm)), json.load(open(aiconfigurator))
    print("| case | GFLOP | vLLM | GB | vLLM | bound ms | AIC SOL | expected ms | AIC silicon |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for case in json.load(open(cases))["cases"]:
        step, theirs = predicted(binary, case), vllm[case["id"]]
        ratio = lambda name, ours: f"{100 * (theirs[name] / ours - 1):+.0f} %" if name in theirs else "–"  # noqa: E731
        gpu, ranks = case["gpu"], f" ×{case['tp']}" if case["tp"] > 1 else ""
        what = f"{case['id']} {case['model']} {case['dtype']}, {gpu}{ranks}, {case['phase']} {case['batch']}"
        cells = [
            f"{step['flops_per_gpu'] / 1e9:.1f}",
            ratio("flops", step["flops_per_gpu"]),
            f"{step['bytes_per_gpu'] / 1e9:.2f}",
            ratio("bytes", step["bytes_per_gpu"]),
            f"{1e3 * step['bound_seconds']:.2f}",
            milliseconds(aiconfigurator[case["id"]]["SOL"]),
            f"{1e3 * step['expected_seconds']:.2f}",
            milliseconds(aiconfigurator[case["id"]]["SILICON"]),
        ]
        print(f"| {what} | {' | '.join(cells)} |")


main()
