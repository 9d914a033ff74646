"""Seconds of each case by `aiconfigurator cli estimate`, from its measurements and as its speed of light, as JSON by case id."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SYSTEMS = {
    "H100-SXM": "h100_sxm",
    "H200-SXM": "h200_sxm",
    "A100-80GB-SXM": "a100_sxm",
    "B200-SXM": "b200_sxm",
    "L40S": "l40s",
    "L4": "l4",
}


def has_experts(config):
    text = config.get("text_config", config)
    return any(text.get(name) for name in ("num_local_experts", "num_experts", "n_routed_experts"))


def estimate(program, case, mode):
    words = case["cli"]
    flag = lambda name: words[words.index(name) + 1] if name in words else None  # noqa: E731
    system = SYSTEMS.get(flag("--gpu"))
    if system is None:
        return {"error": f"knows no {flag('--gpu')}"}
    if len(case["requests"]) > 1:
        return {"error": "takes no mixed step"}
    group = case["requests"][0]
    length = group["new_tokens"] + group["cached_tokens_before"]
    shape = ["--estimate-mode", "static_gen", "--isl", length - 1, "--osl", 2]
    if group["is_prefill"]:
        shape = ["--estimate-mode", "static_ctx", "--isl", length, "--prefix", group["cached_tokens_before"], "--osl", 2]
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "config.json").write_text(json.dumps(case["config"]))
        command = [program, "cli", "estimate", "--model-path", directory, "--system", system, "--backend", "vllm"]
        command += ["--batch-size", group["count"], "--tp-size", flag("--tensor-parallel-size") or 1, "--database-mode", mode]
        if has_experts(case["config"]):
            command += ["--moe-tp-size", flag("--tensor-parallel-size") or 1, "--moe-ep-size", 1]
        if flag("--kv-cache-dtype") == "fp8":
            command += ["--kvcache-quant-mode", "fp8"]
        run = subprocess.run([str(word) for word in command + shape], capture_output=True, text=True, check=False)
    found = re.search(r"(?:Generation lat\.|Context lat\.|TTFT|TPOT):\s+([\d.,]+) ms", run.stdout)
    if found is None:
        errors = [line for line in (run.stdout + run.stderr).splitlines() if "rror" in line]
        return {"error": (errors[-1] if errors else "no answer").strip()[-160:]}
    return {"seconds": float(found.group(1).replace(",", "")) / 1e3}


def main():
    program, cases = sys.argv[1:]
    answers = {}
    for case in json.load(open(cases))["cases"]:
        answers[case["id"]] = {mode: estimate(program, case, mode) for mode in ("SILICON", "SOL")}
        print(case["id"], answers[case["id"]], file=sys.stderr)
    json.dump(answers, sys.stdout, indent=1)


main()
