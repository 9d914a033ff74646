"""Selectors and addresses, as the API server and its controllers resolve them."""
import json
import unittest

from cluster import shared
from support import CHART, DEPLOY, one, own_chart, pod_templates, sidecar, template
from test_manifests import EXAMPLES, SNIPPETS, kustomize
from test_pods import RUNTIME_CLASS, hardened
from test_selectors import OTHERS, monitors, snippet_pods

ADDRESS = "10.1.0.9"


def running(name, namespace, ready):
    """Gives a pod an address, as a kubelet would."""
    status = {"status": {"phase": "Running", "podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}], "conditions": [{"type": "Ready", "status": str(ready)}]}}
    shared().kubectl("patch", "pod", name, "--namespace", namespace, "--subresource=status", "--type=merge", "--patch", json.dumps(status))


def addresses(service, namespace):
    slices = shared().items("endpointslices", namespace, "--selector", f"kubernetes.io/service-name={service}")
    return {(address, port["port"]) for each in slices for endpoint in each.get("endpoints") or [] for address in endpoint["addresses"] for port in each["ports"]}


class SelectorsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shared().apply(RUNTIME_CLASS, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}})

    def create(self, namespace, pods):
        for number, (labels, spec) in enumerate(pods):
            spec = hardened({"containers": [{"name": "main"}], **spec}) | {"nodeName": "node"}
            shared().apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"vllm-{number}", "labels": labels}, "spec": spec}, namespace=namespace)

    def selected(self, monitor, namespace):
        labels = monitor["spec"]["selector"]["matchLabels"]
        return shared().items("pods", namespace, "--selector", ",".join(f"{key}={value}" for key, value in labels.items()))

    def test_every_snippets_pods_are_selected(self):
        for name in OTHERS:
            namespace = shared().namespace(f"scraped-{name}")
            pods = snippet_pods(name)
            self.create(namespace, pods)
            for kind in ("podmonitor", "gmp", "victoriametrics"):
                (monitor,) = monitors(template("helm4", CHART, "--values", SNIPPETS / name / "monitoring-values.yaml", "--set", f"monitoring.kind={kind}"))
                self.assertEqual(len(self.selected(monitor, namespace)), len(pods), (name, kind))

    def test_a_headless_service_has_the_sidecars_address_while_vllm_loads(self):
        namespace = shared().namespace("scraped-service")
        things = own_chart("helm4", "monitoring.kind=servicemonitor")
        self.create(namespace, pod_templates(things))
        running("vllm-0", namespace, ready=False)
        service, monitor = one(things, "Service"), one(things, "ServiceMonitor")
        for thing in (service, monitor):
            thing["metadata"]["namespace"] = namespace
            shared().apply(thing, namespace=namespace)
        selector = ",".join(f"{key}={value}" for key, value in monitor["spec"]["selector"]["matchLabels"].items())
        self.assertEqual(len(shared().items("services", namespace, "--selector", selector)), 1)
        # By its number, since a named port of a native sidecar is unknown before Kubernetes 1.32.
        shared().until("the endpoint is there", lambda: addresses(service["metadata"]["name"], namespace) == {(ADDRESS, 10860)})

    def test_the_address_of_the_dcgm_exporter_is_a_service_with_the_exporters_pod(self):
        if not shared().get("namespace", "gpu-operator", "default"):
            shared().namespace("gpu-operator", "privileged")
        shared().kubectl("apply", "--kustomize", DEPLOY / "kustomize" / "dcgm-service")
        exporter = {"name": "dcgm-exporter", "image": "dcgm-exporter", "ports": [{"containerPort": 9400}]}
        labels = {"app": "nvidia-dcgm-exporter"}
        spec = hardened({"containers": [exporter]}) | {"nodeName": "node"}
        shared().apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "dcgm", "labels": labels}, "spec": spec}, namespace="gpu-operator")
        running("dcgm", "gpu-operator", ready=True)
        container, _ = sidecar(one(kustomize(EXAMPLES[1]), "Deployment")["spec"]["template"]["spec"])
        (url,) = [each["value"] for each in container["env"] if each["name"] == "ROOFLINE__DCGM_URL"]
        name, namespace = url.removeprefix("http://").split(".")[:2]
        shared().until("its endpoint is known", lambda: addresses(name, namespace) == {(ADDRESS, int(url.split(":")[2].split("/")[0]))})
        shared().kubectl("delete", "--kustomize", DEPLOY / "kustomize" / "dcgm-service")
