"""Makes a strict JSON schema of a CustomResourceDefinition: trim_crd.py CRD.yaml VERSION ORIGIN > schemas/KIND.json

Descriptions and status go; objects with known fields take no others, as strict decoding of the API server has it. Pod specs inside are
replaced by a marker: the checker validates them against Kubernetes' own schema. CEL rules are not kept.
"""
import json
import sys

import yaml

KEPT = {"type", "enum", "pattern", "required", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "oneOf", "anyOf", "allOf", "not"}


def strict(node):
    """The node as JSON schema, closed where Kubernetes would drop unknown fields."""
    fields = node.get("properties", {})
    if "containers" in fields and "initContainers" in fields:
        return {"podSpec": True}
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"], **({"pattern": node["pattern"]} if "pattern" in node else {})}
    schema = {key: value for key, value in node.items() if key in KEPT}
    if fields:
        schema["properties"] = {name: strict(field) for name, field in fields.items()}
        schema["additionalProperties"] = bool(node.get("x-kubernetes-preserve-unknown-fields"))
    elif isinstance(node.get("additionalProperties"), dict):
        schema["additionalProperties"] = strict(node["additionalProperties"])
    if "items" in node:
        schema["items"] = strict(node["items"])
    if node.get("nullable") and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    return schema


def main(path, version, origin):
    with open(path, encoding="utf-8") as file:
        crd = next(document for document in yaml.safe_load_all(file) if document)
    found = next(each for each in crd["spec"]["versions"] if each["name"] == version)
    schema = strict(found["schema"]["openAPIV3Schema"])
    # ObjectMeta is the API server's, and nobody writes a status.
    schema["properties"]["metadata"] = {"type": "object"}
    schema["properties"].pop("status", None)
    names = {"apiVersion": f"{crd['spec']['group']}/{version}", "kind": crd["spec"]["names"]["kind"]}
    for key, value in names.items():
        schema["properties"][key] = {"const": value}
    json.dump({"origin": origin, **names, "schema": schema}, sys.stdout, separators=(",", ":"), sort_keys=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
