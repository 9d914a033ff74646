"""Manifests as they are applied: strictly, twice, and by either side's apply, one after the other."""
import json
import unittest

import yaml

from cluster import shared
from support import CHART, DEPLOY, VALUES, read, template
from test_manifests import EXAMPLES, KUSTOMIZE, LAYOUTS, SNIPPETS, kustomize
from test_pods import RUNTIME_CLASS


def manifests():
    """Every set of manifests that is applied as it stands, by its name."""
    for folder in [*EXAMPLES, KUSTOMIZE / "dcgm-service"]:
        yield f"kustomize {folder.name}", kustomize(folder)
    for path in [*LAYOUTS, *sorted(DEPLOY.glob("autoscaling/*.yaml")), *sorted(DEPLOY.glob("recipes/*.yaml")), SNIPPETS / "kserve" / "llminferenceservice.yaml"]:
        if not path.stem.endswith(("-values", "-patch")):
            yield f"{path.parent.name} {path.name}", read(path)


class AppliedTest(unittest.TestCase):
    def setUp(self):
        for name in ("gpu-operator", "monitoring", "models", "argocd", "openshift-monitoring"):
            if not shared().get("namespace", name, "default"):
                shared().namespace(name, "privileged")
        shared().apply(RUNTIME_CLASS)

    def specs(self, text):
        """What the objects in a text are on the server, without metadata and status."""
        found = json.loads(shared().kubectl("get", "--filename=-", "--output=json", input=text))
        return [{key: value for key, value in each.items() if key not in ("metadata", "status")} for each in found.get("items", [found])]

    def delete(self, text):
        shared().kubectl("delete", "--cascade=background", "--timeout=60s", "--filename=-", input=text)

    def test_applied_by_the_client_then_by_the_server_then_again(self):
        applied = 0
        for name, things in manifests():
            if shared().missing(things):
                print(f"{name}: not for this version: {sorted(shared().missing(things))}")
                continue
            with self.subTest(name):
                text = yaml.safe_dump_all(things)
                shared().kubectl("apply", "--validate=strict", "--filename=-", input=text)
                before = self.specs(text)
                for _ in range(2):
                    shared().kubectl("apply", "--server-side", "--validate=strict", "--filename=-", input=text)
                    self.assertEqual(self.specs(text), before, "the second apply changed something")
                self.delete(text)
                applied += len(things)
        print(f"{applied} objects applied by client and server without a conflict")
        self.assertGreater(applied, 20)

    def test_the_datadog_patch_reaches_the_pods(self):
        text = yaml.safe_dump_all(kustomize(KUSTOMIZE / "examples" / "plain"))
        shared().kubectl("apply", "--filename=-", input=text)
        shared().kubectl("patch", "deployment", "vllm", "--patch-file", DEPLOY / "recipes" / "datadog-patch.yaml")
        pods = shared().until("the pods are replaced", lambda: [pod for pod in shared().items("pods", "models") if pod["metadata"].get("annotations")])
        self.assertIn("ad.datadoghq.com/roofline-exporter.checks", pods[0]["metadata"]["annotations"])
        self.delete(text)

    def test_the_charts_objects_too(self):
        """Argo CD and Flux apply what `helm template` renders."""
        for values in VALUES:
            things = template("helm4", CHART, "--values", values)
            if shared().missing(things):
                continue
            with self.subTest(values.name):
                text = yaml.safe_dump_all(things)
                shared().kubectl("apply", "--validate=strict", "--filename=-", input=text)
                before = self.specs(text)
                shared().kubectl("apply", "--server-side", "--validate=strict", "--filename=-", input=text)
                self.assertEqual(self.specs(text), before)
                self.delete(text)
