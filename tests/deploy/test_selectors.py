"""What scrapes finds the pods, and what the pods ask for is there: for every way in."""
import re
import unittest

import yaml

import checker
from support import CHART, DEPLOY, ROOT, of_kind, one, own_chart, output, pod_templates, read, rendered, sidecar, template
from test_manifests import EXAMPLES, LAYOUTS, SIDECARS, SNIPPETS, kustomize

# What each kind of monitoring renders, and where its selector is.
KINDS = {"podmonitor": "PodMonitor", "servicemonitor": "ServiceMonitor", "gmp": "PodMonitoring", "victoriametrics": "VMPodScrape"}
MONITORS = {*KINDS.values(), "ClusterPodMonitoring"}
OTHERS = yaml.safe_load((DEPLOY.parent / "tests" / "deploy" / "pods.yaml").read_text(encoding="utf-8"))


def monitors(things):
    return [thing for thing in things if thing["kind"] in MONITORS]


def endpoints(monitor):
    return next(monitor["spec"][key] for key in ("podMetricsEndpoints", "endpoints") if key in monitor["spec"])


def selects(selector, labels):
    assert set(selector) == {"matchLabels"} and selector["matchLabels"], selector
    return selector["matchLabels"].items() <= labels.items()


def targets(monitor, things, pods):
    """Those of `pods`, as (labels, spec), of which a monitor makes targets; `things` holds the Services."""
    found = []
    for labels, spec in pods:
        container, _ = sidecar(spec)
        ports = {port.get("name"): port["containerPort"] for port in container["ports"]}
        if monitor["kind"] != "ServiceMonitor":
            reached = selects(monitor["spec"]["selector"], labels) and all(endpoint["port"] in ports for endpoint in endpoints(monitor))
        else:
            services = [each for each in of_kind(things, "Service") if selects(monitor["spec"]["selector"], each["metadata"]["labels"])]
            assert len(services) == 1, f"{len(services)} Services"
            (port,) = services[0]["spec"]["ports"]
            reached = services[0]["spec"]["selector"].items() <= labels.items()
            reached = reached and port["name"] == endpoints(monitor)[0]["port"] and port["targetPort"] in ports.values()
        found += [(labels, spec)] if reached else []
    return found


def series_labels(monitor, labels):
    """The labels that a monitor gives the series of a pod with `labels`, beside those that every target has."""
    named = {f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9_]', '_', name)}": value for name, value in labels.items()}
    given = {re.sub("[^a-zA-Z0-9_]", "_", name): labels[name] for name in monitor["spec"].get("podTargetLabels", []) if name in labels}
    given |= {each["to"]: labels[each["from"]] for each in monitor["spec"].get("targetLabels", {}).get("fromPod", []) if each["from"] in labels}
    for endpoint in endpoints(monitor):
        for rule in endpoint.get("relabelings", endpoint.get("relabelConfigs", [])):
            assert rule["action"] == "replace", rule
            given[rule["targetLabel"]] = named.get(rule["sourceLabels"][0], "")
    return given


def snippet_pods(name):
    """Labels and specs of the pods that a chart of others makes of a snippet."""
    if name == "kserve":
        (service,) = read(SNIPPETS / "kserve" / "llminferenceservice.yaml")
        specs = [service["spec"]["template"]]
    else:
        specs = [{"initContainers": containers()} for key, containers in SIDECARS.items() if key.split()[0] == name]
    return list(zip(OTHERS[name]["pods"], specs, strict=True))


class SelectorsTest(unittest.TestCase):
    def reach(self, things, pods):
        """Every monitor has targets, and together they reach every pod."""
        found = monitors(things)
        self.assertTrue(found and pods)
        reached = [targets(monitor, things, pods) for monitor in found]
        self.assertTrue(all(reached), "a monitor selects nothing")
        self.assertCountEqual([labels for each in reached for labels, _ in each], [labels for labels, _ in pods])

    def test_the_chart_scrapes_its_own_pods_and_those_of_the_library(self):
        for kind, name in KINDS.items():
            with self.subTest(kind, mode="sidecar"):
                things = own_chart("helm4", f"monitoring.kind={kind}")
                self.assertEqual({thing["kind"] for thing in monitors(things)}, {name})
                self.reach(things, pod_templates(things))
            with self.subTest(kind, mode="standalone"):
                things = template("helm4", CHART, "--set", f"mode=standalone,gpu.mode=none,monitoring.kind={kind}")
                self.reach(things, pod_templates(things))

    def test_snippets_are_scraped_by_their_own_labels_and_no_other(self):
        for name in OTHERS:
            for kind in KINDS:
                with self.subTest(name, kind=kind):
                    values = SNIPPETS / name / "monitoring-values.yaml"
                    things = template("helm4", CHART, "--values", values, "--set", f"monitoring.kind={kind}")
                    self.reach(things, snippet_pods(name))

    def test_components_and_layouts_are_scraped(self):
        podmonitor = read(DEPLOY / "kustomize" / "podmonitor" / "podmonitor.yaml")
        for folder in EXAMPLES:
            with self.subTest(folder.name):
                things = kustomize(folder)
                pods = [(labels, spec) for labels, spec in pod_templates(things) if sidecar(spec)]
                self.reach(monitors(things) or podmonitor, pods)
        layouts = [thing for path in LAYOUTS for thing in read(path)]
        self.reach(layouts, pod_templates(layouts))

    def test_the_post_renderers_pods_are_scraped_by_the_chart(self):
        labels = read(DEPLOY / "kustomize" / "sidecar" / "sidecar.yaml")[0]["spec"]["template"]["metadata"]["labels"]
        things = template("helm4", CHART, "--set", "monitoring.kind=podmonitor")
        self.assertTrue(selects(one(things, "PodMonitor")["spec"]["selector"], labels))

    def test_annotations_name_the_port(self):
        for things in (own_chart("helm4", "monitoring.kind=annotations"), template("helm4", CHART, "--set", "mode=standalone,gpu.mode=none,monitoring.kind=annotations")):
            self.assertEqual(monitors(things), [])
            pod = one(things, "Deployment")["spec"]["template"]
            (port,) = sidecar(pod["spec"])[0]["ports"]
            annotations = pod["metadata"]["annotations"]
            self.assertEqual(annotations["prometheus.io/scrape"], "true")
            self.assertEqual(annotations["prometheus.io/port"], str(port["containerPort"]))
            self.assertEqual(annotations["prometheus.io/path"], "/metrics")

    def test_a_policy_selects_the_pods_that_are_scraped(self):
        things = own_chart("helm4", "networkPolicy.enabled=true", "monitoring.kind=podmonitor")
        ((labels, _),) = pod_templates(things)
        self.assertTrue(selects(one(things, "NetworkPolicy")["spec"]["podSelector"], labels))


class RolesTest(unittest.TestCase):
    """Roles come out as the label that the fleet's rules group by."""

    def test_a_pods_role_is_the_label_of_its_series(self):
        fleet = (DEPLOY / "prometheus" / "fleet.yaml").read_text(encoding="utf-8")
        grouped = set(re.findall(r"by \(cluster, namespace, model_name, (?!alertname)(\w+)", fleet))
        self.assertEqual(grouped, {"role"})
        for name in ("llm-d", "kserve"):
            for kind in ("podmonitor", "servicemonitor", "gmp", "victoriametrics"):
                things = template("helm4", CHART, "--values", SNIPPETS / name / "monitoring-values.yaml", "--set", f"monitoring.kind={kind}")
                (monitor,) = monitors(things)
                for labels in OTHERS[name]["pods"]:
                    self.assertEqual(series_labels(monitor, labels), {"role": labels["llm-d.ai/role"]}, (name, kind))

    def test_the_layouts_role_too(self):
        monitor = one(read(DEPLOY / "layouts" / "podmonitors.yaml"), "PodMonitor", "vllm-roofline-exporter")
        pods = pod_templates(read(DEPLOY / "layouts" / "disaggregated.yaml"))
        self.assertEqual([series_labels(monitor, labels)["role"] for labels, _ in pods], ["prefill", "decode"])


class DcgmServiceTest(unittest.TestCase):
    """Every URL of a dcgm-exporter is of a Service that something here creates."""

    def urls(self):
        for _, things in rendered("--set", "monitoring.kind=none"):
            yield from re.findall(r"http://[\w.-]+dcgm[\w.-]*:\d+\S*", yaml.safe_dump(things))
        yield from re.findall(r"http://[\w.-]+:\d+/metrics", yaml.safe_dump(own_chart("helm4")))
        for path in DEPLOY.rglob("*"):
            if path.is_file() and path.suffix in (".yaml", ".sh", ".tpl", ".txt"):
                yield from re.findall(r"http://[\w.-]*dcgm[\w.-]*:\d+/\w+", path.read_text(encoding="utf-8"))

    def test_each_url_is_of_a_service_that_is_created(self):
        created = [template("helm4", CHART, "--set", "clusterWide=true"), kustomize(DEPLOY / "kustomize" / "dcgm-service")]
        services = [one(things, "Service") for things in created]
        served = {f"http://{each['metadata']['name']}.{each['metadata']['namespace']}.svc:{each['spec']['ports'][0]['port']}/metrics" for each in services}
        self.assertEqual(len(served), 1, "chart and kustomize create the same Service")
        openshift = one(template("helm4", CHART, "--values", DEPLOY / "recipes" / "openshift-values.yaml", "--set", "gpu.dcgm.service.create=true"), "Service")["metadata"]
        self.assertEqual(openshift["name"], services[0]["metadata"]["name"])
        asked = {url.rstrip("'\",]").replace(openshift["namespace"], services[0]["metadata"]["namespace"]) for url in self.urls()}
        self.assertEqual(asked, served)
        specs = [each["spec"] for each in services]
        self.assertEqual(*specs)

    def test_another_name_is_asked_for_as_it_is_created(self):
        settings = ["clusterWide=true", "gpu.dcgm.service.name=other", "gpu.dcgm.service.namespace=nvidia", "gpu.dcgm.service.port=9401"]
        things = own_chart("helm4", *settings)
        service = one(things, "Service")["metadata"]
        self.assertEqual((service["name"], service["namespace"]), ("other", "nvidia"))
        container, _ = sidecar(one(things, "Deployment")["spec"]["template"]["spec"])
        self.assertIn("--dcgm-url=http://other.nvidia.svc:9401/metrics", container["args"])

    def test_notes_and_guide_name_it(self):
        notes = output("helm4", "install", "test", CHART, "--dry-run=client", "--namespace", "models").split("NOTES:")[1]
        self.assertIn("kubectl --namespace gpu-operator get endpointslices --selector kubernetes.io/service-name=vllm-roofline-dcgm", notes)
        self.assertIn("kubernetes.io/service-name=vllm-roofline-dcgm", (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8"))


class QualityOfServiceTest(unittest.TestCase):
    """A sidecar leaves a Guaranteed vLLM Guaranteed, and a quota on limits admits it."""

    def pods(self):
        for mode in ("dcgm", "nvml", "dra", "none"):
            yield from ((f"library {mode}", spec) for _, spec in pod_templates(own_chart("helm4", f"gpu.mode={mode}", "gpu.name=H100")))
        for folder in EXAMPLES:
            yield from ((folder.name, spec) for _, spec in pod_templates(kustomize(folder)) if sidecar(spec))
        for path in LAYOUTS:
            yield from ((path.name, spec) for _, spec in pod_templates(read(path)))
        for name in OTHERS:
            yield from ((name, {"containers": [{"name": "vllm"}], **spec}) for _, spec in snippet_pods(name))

    def test_a_guaranteed_vllm_stays_guaranteed(self):
        full = {"cpu": "8", "memory": "64Gi"}
        for name, spec in self.pods():
            with self.subTest(name):
                for container in spec["containers"] + spec.get("initContainers", []):
                    if container["name"] != "roofline-exporter":
                        container["resources"] = {"requests": full, "limits": full}
                self.assertEqual(checker.quality_of_service(spec), "Guaranteed")

    def test_it_is_the_same_share_everywhere(self):
        wanted = {"cpu": "20m", "memory": "64Mi"}
        for name, spec in self.pods():
            resources = {key: value for key, value in sidecar(spec)[0]["resources"].items() if key != "claims"}
            self.assertEqual(resources, {"requests": wanted, "limits": wanted}, name)
