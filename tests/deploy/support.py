"""What the tests share: the repository's paths, programs to run, manifests to read."""
import os
import pathlib
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "vllm-roofline-exporter"
HELMS = ("helm3", "helm4")
KUBECTLS = ("kubectl31", "kubectl37")
OPERATOR = ["--api-versions", "monitoring.coreos.com/v1/PodMonitor", "--api-versions", "monitoring.coreos.com/v1/PrometheusRule"]


def run(*command, **more):
    """Runs `command` and returns it with its output, whatever its exit code."""
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, **more)


def output(*command, **more):
    """The output of `command`, which has to succeed."""
    done = run(*command, **more)
    assert done.returncode == 0, f"{' '.join(str(word) for word in command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def documents(text):
    """The objects in a YAML stream."""
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def read(path):
    """The objects in a file."""
    return documents(pathlib.Path(path).read_text(encoding="utf-8"))


def template(helm, chart, *arguments):
    """What `helm template` makes of a chart."""
    return documents(output(helm, "template", "test", chart, "--namespace", "models", *arguments))


def one(objects, kind, name=None):
    """The only object of a kind, or of a kind and name."""
    found = [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects {kind} {name or ''}"
    return found[0]


def of_kind(objects, kind):
    """All objects of a kind."""
    return [each for each in objects if each["kind"] == kind]


def pod_specs(node):
    """Every pod spec inside an object."""
    if isinstance(node, dict):
        if isinstance(node.get("containers"), list):
            yield node
        for value in node.values():
            yield from pod_specs(value)
    elif isinstance(node, list):
        for value in node:
            yield from pod_specs(value)


def sidecar(spec):
    """Our container in a pod spec, and the list it is in; None without one."""
    for place in ("initContainers", "containers"):
        for container in spec.get(place, []):
            if container["name"] == "roofline-exporter":
                return container, place
    return None


def binary():
    """The exporter: $EXPORTER, else the newest build; None if there is none."""
    if "EXPORTER" in os.environ:
        return pathlib.Path(os.environ["EXPORTER"])
    builds = [ROOT / "target" / profile / "vllm-roofline-exporter" for profile in ("release", "debug")]
    built = [path for path in builds if path.exists()]
    return max(built, key=lambda path: path.stat().st_mtime, default=None)
