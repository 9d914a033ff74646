"""Recipes and admission policies: valid, of this version, and in agreement with the chart and with each other."""
import json
import pathlib
import re
import shutil
import tempfile
import unittest

import yaml

import checker
from support import CHART, DEPLOY, documents, of_kind, one, output, read, sidecar, template
from test_manifests import KUSTOMIZE, kustomize
from test_release import VERSION

RECIPES = DEPLOY / "recipes"
PLAIN = KUSTOMIZE / "examples" / "plain"
MAP = DEPLOY / "injection" / "mutatingadmissionpolicy.yaml"
KYVERNO = DEPLOY / "injection" / "kyverno.yaml"


class RecipesTest(unittest.TestCase):
    def test_every_object_is_valid(self):
        for path in (path for path in RECIPES.glob("*.yaml") if not re.search("-(values|patch)$", path.stem)):
            for thing in read(path):
                checker.check(thing)

    def test_argo_cd_installs_this_version_with_values_of_the_chart(self):
        waves = []
        for application in read(RECIPES / "argocd.yaml"):
            source = application["spec"]["source"]
            self.assertEqual((source["chart"], source["targetRevision"]), (CHART.name, VERSION))
            things = documents(output("helm4", "template", source["helm"]["releaseName"], CHART, "--values", "-", input=yaml.safe_dump(source["helm"]["valuesObject"])))
            waves.append((int(application["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]), {thing["kind"] for thing in things}))
        self.assertEqual(sorted(waves), [(0, {"PrometheusRule", "ConfigMap", "Service"}), (1, {"PodMonitor"})])

    def test_collectors_scrape_the_port_by_its_name(self):
        (container, _) = sidecar(one(kustomize(PLAIN), "Deployment")["spec"]["template"]["spec"])
        (port,) = container["ports"]
        collector = one(read(RECIPES / "opentelemetry.yaml"), "OpenTelemetryCollector")
        (scraped,) = collector["spec"]["config"]["receivers"]["prometheus"]["config"]["scrape_configs"]
        self.assertEqual(scraped["relabel_configs"][0]["regex"], port["name"])
        (patch,) = read(RECIPES / "datadog-patch.yaml")
        annotations = patch["spec"]["template"]["metadata"]["annotations"]
        (check,) = json.loads(annotations[f"ad.datadoghq.com/{container['name']}.checks"])["openmetrics"]["instances"]
        self.assertEqual(check["openmetrics_endpoint"], f"http://%%host%%:{port['containerPort']}/metrics")

    def test_openshift_chooses_the_user(self):
        things = template("helm4", CHART, "--values", RECIPES / "openshift-values.yaml")
        self.assertEqual({thing["kind"] for thing in things}, {"PodMonitor", "PrometheusRule"})
        spec = one(template("helm4", CHART, "--values", RECIPES / "openshift-values.yaml", "--set", "mode=standalone,gpu.mode=none"), "Deployment")["spec"]["template"]["spec"]
        self.assertNotIn("runAsUser", spec["containers"][0]["securityContext"])
        self.assertEqual(checker.restricted(spec), [])
        with tempfile.TemporaryDirectory() as folder:
            for name in ("sidecar", "gpu-dcgm", "openshift"):
                shutil.copytree(KUSTOMIZE / name, pathlib.Path(folder, name))
            shutil.copy(PLAIN / "vllm.yaml", folder)
            written = {"resources": ["vllm.yaml"], "components": ["sidecar", "gpu-dcgm", "openshift"]}
            pathlib.Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
            spec = one(kustomize(folder), "Deployment")["spec"]["template"]["spec"]
        self.assertFalse({"runAsUser", "runAsGroup"} & set(sidecar(spec)[0]["securityContext"]))
        self.assertEqual(checker.restricted(spec), [])

    def test_grafana_operator_finds_every_dashboard(self):
        things = template("helm4", CHART, "--set", "clusterWide=true,dashboards.instanceSelector.dashboards=grafana")
        maps = {each["metadata"]["name"]: set(each["data"]) for each in of_kind(things, "ConfigMap")}
        dashboards = of_kind(things, "GrafanaDashboard")
        self.assertEqual({each["spec"]["configMapRef"]["name"]: {each["spec"]["configMapRef"]["key"]} for each in dashboards}, maps)
        for thing in dashboards:
            checker.check(thing)


class InjectionTest(unittest.TestCase):
    def test_both_policies_are_the_same(self):
        policy = one(read(MAP), "MutatingAdmissionPolicy")["spec"]
        kyverno = one(read(KYVERNO), "MutatingPolicy")["spec"]
        self.assertEqual(kyverno.pop("autogen"), {"podControllers": {"controllers": []}})
        for spec in (policy, kyverno):
            (rule,) = spec["matchConstraints"]["resourceRules"]
            rule.pop("scope", None)
        self.assertEqual(kyverno, policy)

    def test_what_they_add_is_the_sidecar_of_the_components(self):
        (mutation,) = one(read(MAP), "MutatingAdmissionPolicy")["spec"]["mutations"]
        expression = mutation["jsonPatch"]["expression"]
        (source,) = read(KUSTOMIZE / "sidecar" / "sidecar.yaml")
        (gpu,) = read(KUSTOMIZE / "gpu-dcgm" / "gpu.yaml")
        container = source["spec"]["template"]["spec"]["initContainers"][0]
        gpu = gpu["spec"]["template"]["spec"]["initContainers"][0]
        for name, value in re.findall(r"(\w+): '([^']*)'", expression):
            if name == "image":
                self.assertEqual(value, container["image"])
        added = {name for name in re.findall(r"env\{name: '(\w+)'", expression)}
        self.assertEqual(added - {"HF_HOME"}, {each["name"] for each in container["env"] + gpu["env"]})
        for quantity in ("'cpu': '20m'", "'memory': '64Mi'"):
            self.assertEqual(expression.count(quantity), 2)
        for each in gpu["env"]:
            if "value" in each:
                self.assertIn(f"'{each['value']}'", expression)

    def test_serving_does_not_depend_on_them(self):
        for path in (MAP, KYVERNO):
            self.assertEqual(read(path)[0]["spec"]["failurePolicy"], "Ignore")
