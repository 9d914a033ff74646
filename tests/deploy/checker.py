"""Strict validation of manifests: Kubernetes' own schemas for its kinds, trimmed CRDs (schemas/) for the others. An unknown kind fails."""
import functools
import json
import pathlib

import jsonschema
import kubernetes_validate

KUBERNETES = ("1.34", "1.37")
SCHEMAS = pathlib.Path(__file__).with_name("schemas")


class Invalid(Exception):
    """An object that the API server would refuse, or take less of than is written."""


@functools.cache
def custom():
    """Trimmed CRDs by apiVersion and kind."""
    crds = (json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json"))
    return {(crd["apiVersion"], crd["kind"]): crd["schema"] for crd in crds}


def pod_spec(_validator, _wanted, spec, _schema):
    """The keyword `podSpec`: the value is a pod spec of Kubernetes."""
    try:
        # Merged into a template of the controller's, it may leave out what that has.
        containers = [{"image": "from-template", **each} for each in spec.get("containers", [])] or [{"name": "any"}]
        kubernetes({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": {**spec, "containers": containers}}, KUBERNETES[-1])
    except Invalid as invalid:
        yield jsonschema.ValidationError(str(invalid))


Custom = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"podSpec": pod_spec})


def kubernetes(thing, version):
    """Validates an object of Kubernetes' own."""
    try:
        kubernetes_validate.validate(thing, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise Invalid(f"{'.'.join(map(str, error.path))}: {error.message}") from error
    except kubernetes_validate.SchemaNotFoundError as error:
        raise Invalid(f"no schema for {thing['apiVersion']} {thing['kind']} in Kubernetes {version}") from error


def check(thing, versions=KUBERNETES):
    """Validates one object."""
    named = f"{thing.get('kind')} {thing.get('metadata', {}).get('name')}"
    schema = custom().get((thing.get("apiVersion"), thing.get("kind")))
    try:
        if schema is not None:
            error = jsonschema.exceptions.best_match(Custom(schema).iter_errors(thing))
            if error is not None:
                raise Invalid(f"{'.'.join(map(str, error.absolute_path))}: {error.message}")
        else:
            for version in versions:
                kubernetes(thing, version)
    except Invalid as invalid:
        raise Invalid(f"{named}: {invalid}") from None


def restricted(spec):
    """What of a container of ours breaks the restricted Pod Security Standard: a list, empty if nothing does."""
    broken = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    broken += [f"volume {volume['name']}" for volume in spec.get("volumes", []) if "hostPath" in volume]
    container = next(each for each in spec.get("initContainers", []) + spec["containers"] if each["name"] == "roofline-exporter")
    context = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
    wanted = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}
    broken += [key for key, value in wanted.items() if context.get(key) != value]
    broken += ["privileged"] if context.get("privileged") else []
    broken += ["runAsUser 0"] if context.get("runAsUser") == 0 else []
    broken += ["hostPort"] if any("hostPort" in port for port in container.get("ports", [])) else []
    return broken


def quality_of_service(spec):
    """The QoS class that Kubernetes gives a pod: Guaranteed if every container, init containers among them, has limits of CPU and memory
    that its requests (by default the same) equal; BestEffort if none has either."""
    resources = [each.get("resources", {}) for each in spec["containers"] + spec.get("initContainers", [])]
    computed = [{kind: {key: each.get(kind, {}).get(key) for key in ("cpu", "memory")} for kind in ("requests", "limits")} for each in resources]
    if not any(value for each in computed for kind in each.values() for value in kind.values()):
        return "BestEffort"
    equal = all(limit is not None and each["requests"][key] in (None, limit) for each in computed for key, limit in each["limits"].items())
    return "Guaranteed" if equal else "Burstable"
