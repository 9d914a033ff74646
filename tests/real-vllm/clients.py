"""clients.py VLLM EXPORTER: clients that repeat the beginning of their prompts, and both counts of the tokens that were computed."""

import json
import os
import random
import re
import sys
import threading
import time
import urllib.request

VLLM, EXPORTER = sys.argv[1:]
SECONDS, CLIENTS = float(os.environ.get("SECONDS_OF_LOAD", 45)), int(os.environ.get("CLIENTS", 8))
SHARED, MOST_OFF = float(os.environ.get("SHARED", 0.6)), float(os.environ.get("MOST_OFF", 0.03))
PROMPT, OUTPUT = 500, 60
by_clients = {"computed": 0, "decoded": 0, "requests": 0}
lock = threading.Lock()


def answer(url, body=None):
    request = urllib.request.Request(url, body and json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return response.read()


def client(seed, until):
    chance = random.Random(seed)
    shared = list(range(300, 300 + int(PROMPT * SHARED)))
    while time.monotonic() < until:
        own = max(8, int(PROMPT * chance.uniform(0.7, 1.3)) - len(shared))
        prompt = shared + [chance.randrange(300, 4000) for _ in range(own)]
        body = {"model": "tiny", "prompt": prompt, "max_tokens": int(OUTPUT * chance.uniform(0.5, 1.5)), "ignore_eos": True}
        usage = json.loads(answer(f"{VLLM}/v1/completions", body))["usage"]
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        with lock:
            by_clients["computed"] += usage["prompt_tokens"] - cached
            by_clients["decoded"] += usage["completion_tokens"] - 1
            by_clients["requests"] += 1


def counted():
    page = answer(f"{EXPORTER}/metrics").decode()
    of_phase = re.findall(r'^vllm_roofline_forward_tokens_total\{[^}]*phase="(\w+)"[^}]*\} (\S+)', page, re.MULTILINE)
    return {phase: float(tokens) for phase, tokens in of_phase}


def settled():
    """What was counted once a second has passed in which nothing was."""
    before, now = None, counted()
    while before != now:
        time.sleep(3)
        before, now = now, counted()
    return now


before = settled()
threads = [threading.Thread(target=client, args=(seed, time.monotonic() + SECONDS)) for seed in range(CLIENTS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
after = settled()
print(f"{by_clients['requests']} requests")
worst = 0.0
for phase, sent in (("prefill", by_clients["computed"]), ("decode", by_clients["decoded"])):
    ours = after[phase] - before.get(phase, 0.0)
    print(f"{phase}: {sent} tokens by the clients, {ours:.0f} by the exporter: x{ours / sent:.3f}")
    worst = max(worst, abs(ours / sent - 1))
sys.exit(worst > MOST_OFF)
