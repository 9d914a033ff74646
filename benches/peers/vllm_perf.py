"""FLOPs and bytes of each case by vLLM's own vllm/v1/metrics/perf.py, as JSON by case id.

perf.py reads a VllmConfig; it gets the fields that it asks for, from the case's config.json through transformers where that knows the
class, as vLLM has it.
"""

import json
import sys
from types import SimpleNamespace

import torch
from transformers import AutoConfig
from vllm.v1.metrics.perf import ExecutionContext, ModelMetrics


def hf_config(raw):
    try:
        fields = {name: value for name, value in raw.items() if name not in ("model_type", "auto_map", "quantization_config")}
        return AutoConfig.for_model(raw["model_type"], **fields)
    except Exception:  # noqa: BLE001 - a class that transformers lacks
        return SimpleNamespace(**raw)


def stub(case, flag):
    config = hf_config(case["config"])
    text = config.get_text_config() if hasattr(config, "get_text_config") else config

    def first(*names, default=None):
        values = (getattr(text, name, None) for name in names)
        return next((value for value in values if value is not None), default)

    heads = first("num_attention_heads", "n_head")
    is_mla = first("kv_lora_rank") is not None
    head_size = (
        first("kv_lora_rank") + first("qk_rope_head_dim")
        if is_mla
        else first("head_dim", default=first("hidden_size", "n_embd") // heads)
    )
    window = None if getattr(text, "use_sliding_window", True) is False else first("sliding_window")
    quantization = (case["config"].get("quantization_config") or {}).get("quant_method")
    model = SimpleNamespace(
        hf_config=config,
        hf_text_config=text,
        dtype=torch.float16 if flag("--dtype") == "float16" else torch.bfloat16,
        is_deepseek_mla=is_mla,
        get_vocab_size=lambda: text.vocab_size,
        get_hidden_size=lambda: first("hidden_size", "n_embd"),
        get_total_num_kv_heads=lambda: 1 if is_mla else first("num_key_value_heads", "num_kv_heads", default=heads),
        get_head_size=lambda: head_size,
        get_sliding_window=lambda: window,
        get_num_experts=lambda: first("n_routed_experts", "num_local_experts", "num_experts", default=0),
        get_num_experts_per_tok=lambda: first("num_experts_per_tok", "experts_per_token", default=0),
    )
    return SimpleNamespace(
        model_config=model,
        cache_config=SimpleNamespace(cache_dtype=flag("--kv-cache-dtype") or "auto", sliding_window=None),
        parallel_config=SimpleNamespace(
            data_parallel_size=1,
            tensor_parallel_size=int(flag("--tensor-parallel-size") or 1),
            pipeline_parallel_size=1,
            enable_expert_parallel=False,
        ),
        quant_config=SimpleNamespace(get_name=lambda: quantization) if quantization else None,
    )


def main():
    answers = {}
    for case in json.load(open(sys.argv[1]))["cases"]:
        words = case["cli"]
        flag = lambda name: words[words.index(name) + 1] if name in words else None  # noqa: E731
        try:
            metrics = ModelMetrics(stub(case, flag))
            context = ExecutionContext()
            for group in case["requests"]:
                for _ in range(group["count"]):
                    length = group["new_tokens"] + group["cached_tokens_before"]
                    context.add(group["new_tokens"], length, group["is_prefill"])
            if not metrics.is_enabled():
                raise ValueError("no component was understood")
            answers[case["id"]] = {
                "flops": metrics.get_num_flops(context),
                "bytes": metrics.get_read_bytes(context) + metrics.get_write_bytes(context),
                "components": [metric.component_type() for metric in metrics.metrics],
            }
        except Exception as error:  # noqa: BLE001 - what it refuses is part of the answer
            answers[case["id"]] = {"error": f"{type(error).__name__}: {error}"[:120]}
    json.dump(answers, sys.stdout, indent=1)


main()
