"""Kustomize components, snippets, layouts and autoscaling: what they render, what they leave alone, that it is valid."""
import copy
import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

import yaml

import checker
from support import DEPLOY, KUBECTLS, ROOT, binary, documents, of_kind, one, output, pod_specs, read, run, sidecar

KUSTOMIZE = DEPLOY / "kustomize"
EXAMPLES = sorted(path.parent for path in KUSTOMIZE.glob("examples/*/kustomization.yaml"))
LAYOUTS = sorted(DEPLOY.glob("layouts/*.yaml"))
SNIPPETS = DEPLOY / "snippets"
SIDECARS = {
    "vllm-chart": lambda: yaml.safe_load((SNIPPETS / "vllm-chart" / "vllm-values.yaml").read_text(encoding="utf-8"))["extraInit"]["initContainers"],
    "llm-d decode": lambda: yaml.safe_load((SNIPPETS / "llm-d" / "modelservice-values.yaml").read_text(encoding="utf-8"))["decode"]["initContainers"],
    "llm-d prefill": lambda: yaml.safe_load((SNIPPETS / "llm-d" / "modelservice-values.yaml").read_text(encoding="utf-8"))["prefill"]["initContainers"],
}


def kustomize(folder, kubectl=KUBECTLS[-1]):
    return documents(output(kubectl, "kustomize", folder))


def pods():
    """Every pod spec with our sidecar that this directory gives out, by name."""
    for folder in EXAMPLES:
        for thing in kustomize(folder):
            yield from ((f"{folder.name} {thing['kind']}", spec) for spec in pod_specs(thing) if sidecar(spec))
    for path in [*LAYOUTS, SNIPPETS / "kserve" / "llminferenceservice.yaml"]:
        yield from ((path.name, spec) for thing in read(path) for spec in pod_specs(thing))
    for name, containers in SIDECARS.items():
        yield name, {"initContainers": containers(), "containers": [{"name": "vllm", "image": "vllm"}]}


class KustomizeTest(unittest.TestCase):
    def test_every_kubectl_renders_the_same_valid_objects(self):
        for folder in [*EXAMPLES, KUSTOMIZE / "dcgm-service"]:
            rendered = [kustomize(folder, kubectl) for kubectl in KUBECTLS]
            self.assertEqual(*rendered)
            for thing in rendered[0]:
                checker.check(thing)

    def test_what_is_there_stays_as_it_is(self):
        for folder in EXAMPLES:
            before = {(thing["kind"], thing["metadata"]["name"]): thing for path in folder.glob("*.yaml") if path.name != "kustomization.yaml" for thing in read(path)}
            for thing in kustomize(folder):
                source = before.get((thing["kind"], thing["metadata"]["name"]))
                if source is None or thing["kind"] not in ("Deployment", "StatefulSet"):
                    continue
                with self.subTest(folder=folder.name, name=source["metadata"]["name"]):
                    self.assertEqual(without_sidecar(thing), without_sidecar(source))

    def test_only_labelled_workloads_get_it(self):
        things = kustomize(KUSTOMIZE / "examples" / "with-init-containers")
        self.assertIsNone(sidecar(one(things, "Deployment", "other")["spec"]["template"]["spec"]))
        spec = one(things, "Deployment", "vllm")["spec"]["template"]["spec"]
        self.assertEqual([container["name"] for container in spec["initContainers"]], ["roofline-exporter", "download-model"])

    def test_a_remote_dcgm_exporter_is_never_asked(self):
        service = one(kustomize(KUSTOMIZE / "dcgm-service"), "Service")
        self.assertEqual(service["spec"]["internalTrafficPolicy"], "Local")
        url = f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{service['spec']['ports'][0]['port']}/metrics"
        patch = (KUSTOMIZE / "gpu-dcgm" / "gpu.yaml").read_text(encoding="utf-8")
        self.assertIn(url, patch)


def without_sidecar(thing):
    """The workload as it was before the components: without the container, its volume, its pod label and what its GPU mode asks of the pod."""
    rest = copy.deepcopy(thing)
    rest["metadata"].pop("namespace", None)
    template = rest["spec"]["template"]
    template["metadata"]["labels"].pop("vllm-roofline-exporter/scrape", None)
    spec = template["spec"]
    for key in ("initContainers", "volumes"):
        spec[key] = [each for each in spec.get(key, []) if not each["name"].startswith("roofline-")]
    for key in ("runtimeClassName", "shareProcessNamespace"):
        spec.pop(key, None)
    return rest


class SidecarTest(unittest.TestCase):
    """Whatever way the sidecar comes in."""

    def test_it_is_native_restricted_and_never_in_the_way(self):
        for name, spec in pods():
            with self.subTest(name):
                container, place = sidecar(spec)
                self.assertEqual((place, container["restartPolicy"]), ("initContainers", "Always"))
                self.assertEqual(checker.restricted(spec), [])
                self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
                # Readiness would be the pod's; a startup probe would hold vLLM back; a GPU would be another one than vLLM's.
                self.assertFalse({"readinessProbe", "startupProbe"} & set(container))
                self.assertEqual(container["livenessProbe"]["httpGet"], {"path": "/-/healthy", "port": 10860})
                self.assertNotIn("nvidia.com/gpu", container["resources"]["limits"])

    def test_it_is_the_same_container_everywhere(self):
        fixed = ("image", "ports", "livenessProbe", "securityContext", "restartPolicy")
        first, *others = [{key: sidecar(spec)[0][key] for key in fixed} for _, spec in pods()]
        for other in others:
            self.assertEqual(other, first)

    def test_the_exporter_takes_its_arguments_and_settings(self):
        program = binary()
        if program is None:
            self.skipTest("no build of the exporter")
        for name, spec in pods():
            with self.subTest(name):
                container, _ = sidecar(spec)
                self.assertEqual(container["args"][0], "serve")
                variables = {each["name"]: each["value"] for each in container.get("env", []) if each["name"].startswith("ROOFLINE__")}
                # An address that cannot be had ends it after the settings are read: 1, not 2.
                words = [word.replace("$(LWS_LEADER_ADDRESS)", "leader") for word in container["args"]]
                done = run(program, *words, "--web.listen-address=192.0.2.1:1", env={**os.environ, **variables})
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("192.0.2.1:1", done.stderr)


class LayoutsTest(unittest.TestCase):
    def test_every_object_is_valid(self):
        for path in [*LAYOUTS, *DEPLOY.glob("autoscaling/*.yaml"), SNIPPETS / "kserve" / "llminferenceservice.yaml"]:
            for thing in read(path):
                checker.check(thing)

    def test_snippets_are_valid_containers(self):
        for name, containers in SIDECARS.items():
            with self.subTest(name):
                spec = {"initContainers": containers(), "containers": [{"name": "vllm", "image": "vllm"}]}
                checker.check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "vllm"}, "spec": spec})

    def test_workers_keep_the_series_of_their_gpus_only(self):
        monitors = of_kind(read(DEPLOY / "layouts" / "podmonitors.yaml"), "PodMonitor")
        (rule,) = one(monitors, "PodMonitor", "vllm-roofline-exporter-gpu-only")["spec"]["podMetricsEndpoints"][0]["metricRelabelings"]

        kept = lambda name, gpu="": bool(re.fullmatch(rule["regex"], f"{gpu};{name}"))
        self.assertEqual(rule["sourceLabels"], ["gpu", "__name__"])
        self.assertTrue(kept("vllm_roofline_energy_joules_total", "GPU-1"))
        self.assertTrue(kept("vllm_roofline_source_success"))
        self.assertFalse(kept("vllm_roofline_flops_total"))
        self.assertFalse(kept("vllm_roofline_up"))

    def test_scaling_asks_for_rules_that_are_there(self):
        fleet = yaml.safe_load((DEPLOY / "prometheus" / "fleet.yaml").read_text(encoding="utf-8"))
        recorded = {rule["record"] for group in fleet["groups"] for rule in group["rules"]}
        (scaled,) = read(DEPLOY / "autoscaling" / "keda.yaml")
        asked = [trigger["metadata"]["query"].removeprefix("sum(").split("{")[0] for trigger in scaled["spec"]["triggers"]]
        self.assertEqual(len(asked), 3)
        self.assertLessEqual(set(asked), recorded)
        (hpa,) = read(DEPLOY / "autoscaling" / "hpa.yaml")
        names = [metric["external"]["metric"]["name"] for metric in hpa["spec"]["metrics"]]
        self.assertEqual(names, [name.removeprefix("namespace_model:").replace(":", "_") for name in asked])


class FleetTest(unittest.TestCase):
    def test_the_rules_compute_what_they_say(self):
        output("promtool", "test", "rules", DEPLOY / "prometheus" / "tests" / "fleet_test.yaml")

    def test_they_read_metrics_that_are_exported(self):
        catalogue = (ROOT / "src" / "export" / "catalogue.rs").read_text(encoding="utf-8")
        rules = (DEPLOY / "prometheus" / "fleet.yaml").read_text(encoding="utf-8")
        # A colon before or after makes it the name of a rule.
        names = set(re.findall(r"(?<![:\w])vllm_roofline_\w+(?![:\w])", rules))
        self.assertGreater(len(names), 5)
        for name in names:
            self.assertIn(f'"{name.removeprefix("vllm_roofline_")}"', catalogue)


class PostRendererTest(unittest.TestCase):
    """production-stack's way in, on a chart that renders a Deployment with its label."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "bin").mkdir()
        kubectl = subprocess.run(["sh", "-c", f"command -v {KUBECTLS[-1]}"], capture_output=True, text=True, check=True).stdout.strip()
        (self.folder / "bin" / "kubectl").symlink_to(kubectl)
        self.environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HELM_DATA_HOME": str(self.folder / "data")}
        templates = self.folder / "chart" / "templates"
        templates.mkdir(parents=True)
        (self.folder / "chart" / "Chart.yaml").write_text("{apiVersion: v2, name: stack, version: 0.1.0}", encoding="utf-8")
        source = (KUSTOMIZE / "examples" / "plain" / "vllm.yaml").read_text(encoding="utf-8")
        (templates / "deployment.yaml").write_text(source, encoding="utf-8")

    def rendered(self, helm, renderer):
        text = output(helm, "template", "stack", self.folder / "chart", "--post-renderer", renderer, env=self.environment)
        return one(documents(text), "Deployment")["spec"]["template"]["spec"]

    def test_helm_3_takes_the_script_and_helm_4_the_plugin(self):
        plugin = SNIPPETS / "production-stack"
        output("helm4", "plugin", "install", plugin, env=self.environment)
        specs = [self.rendered("helm3", plugin / "post-render.sh"), self.rendered("helm4", "vllm-roofline-exporter")]
        self.assertEqual(*specs)
        container, place = sidecar(specs[0])
        self.assertEqual(place, "initContainers")
        self.assertIn({"name": "ROOFLINE__GPU_SOURCE", "value": "dcgm"}, container["env"])

    def test_the_script_fails_on_what_is_no_manifest(self):
        script = shlex.quote(str(SNIPPETS / "production-stack" / "post-render.sh"))
        done = run("sh", "-c", f"echo 'a: [' | {script}", env=self.environment)
        self.assertNotEqual(done.returncode, 0)
