"""What the tests share: the repository's paths, programs to run, manifests to read."""
import atexit
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "vllm-roofline-exporter"
VALUES = sorted(CHART.glob("ci/*-values.yaml"))
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


@functools.cache
def template_text(helm, chart, *arguments):
    return output(helm, "template", "test", chart, "--namespace", "models", *arguments)


def template(helm, chart, *arguments):
    """What `helm template` makes of a chart."""
    return documents(template_text(helm, chart, *arguments))


@functools.cache
def own_chart_folder():
    """A copy of the chart under examples that holds ours as a dependency."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    chart = pathlib.Path(folder.name, "own-chart")
    shutil.copytree(DEPLOY / "helm" / "examples" / "own-chart", chart)
    manifest = chart / "Chart.yaml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("file://../../", f"file://{CHART.parent}/"), encoding="utf-8")
    output("helm4", "dependency", "build", chart)
    return chart


def own_chart(helm, *settings):
    """The chart under examples, a vLLM with the library template's sidecar, with `settings` for ours."""
    sets = [word for setting in settings for word in ("--set", f"vllm-roofline-exporter.{setting}")]
    return template(helm, own_chart_folder(), *sets)


def rendered(*arguments):
    """Every helm with every values file of the chart, and with none: the helm and what it renders."""
    for helm in HELMS:
        for values in [None, *VALUES]:
            yield helm, template(helm, CHART, *(["--values", values] if values else []), *arguments)


def pod_templates(objects):
    """Labels and spec of every pod template inside objects."""
    if isinstance(objects, list):
        return [pod for each in objects for pod in pod_templates(each)]
    if not isinstance(objects, dict):
        return []
    if isinstance(objects.get("spec"), dict) and isinstance(objects["spec"].get("containers"), list):
        return [(objects["metadata"]["labels"], objects["spec"])]
    return [pod for each in objects.values() for pod in pod_templates(each)]


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
