"""Pods with the sidecar, admitted by the API server: Pod Security, quality of service, quota, tokens, what a missing class does."""
import copy
import unittest

from cluster import MINOR, Failed, shared
from support import own_chart, pod_templates, read, sidecar
from test_manifests import EXAMPLES, LAYOUTS, kustomize
from test_selectors import OTHERS, snippet_pods

FULL = {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"}
HARDENED = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "runAsUser": 1000, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}
RUNTIME_CLASS = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"}


def ways_in():
    """Every way in by its name: labels and spec of the pod."""
    for mode in ("dcgm", "nvml", "dra", "none"):
        yield from ((f"library-{mode}", *pod) for pod in pod_templates(own_chart("helm4", f"gpu.mode={mode}", "gpu.name=H100")))
    for folder in EXAMPLES:
        yield from ((f"kustomize-{folder.name}", *pod) for pod in pod_templates(kustomize(folder)) if sidecar(pod[1]))
    for path in LAYOUTS:
        yield from ((path.stem, *pod) for pod in pod_templates(read(path)))
    for name in OTHERS:
        yield from ((name, labels, {"containers": [{"name": "main"}], **spec}) for labels, spec in snippet_pods(name))


def hardened(spec):
    """The pod with a vLLM that is hardened and Guaranteed, and with the volumes that its chart would bring."""
    spec = copy.deepcopy(spec)
    for container in spec["containers"] + spec.get("initContainers", []):
        if container["name"] != "roofline-exporter":
            container |= {"securityContext": HARDENED, "image": container.get("image", "vllm")}
            claims = {key: value for key, value in container.get("resources", {}).items() if key == "claims"}
            gpu = container in spec["containers"] and not claims
            share = FULL if gpu else {key: FULL[key] for key in ("cpu", "memory")}
            container["resources"] = {"requests": share, "limits": share, **claims}
    mounted = {mount["name"] for each in spec["containers"] + spec.get("initContainers", []) for mount in each.get("volumeMounts", [])}
    volumes = spec.get("volumes", [])
    spec["volumes"] = volumes + [{"name": name, "emptyDir": {}} for name in sorted(mounted - {volume["name"] for volume in volumes})]
    return spec


class AdmissionTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shared().apply(RUNTIME_CLASS)
        cls.namespace = shared().namespace("admitted")
        quota = {"requests.cpu": "1k", "limits.cpu": "1k", "requests.memory": "100Ti", "limits.memory": "100Ti"}
        shared().apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "limits"}, "spec": {"hard": quota}}, namespace=cls.namespace)

    def test_every_way_in_is_admitted_restricted_guaranteed_and_without_a_token(self):
        admitted = 0
        for number, (name, labels, spec) in enumerate(ways_in()):
            if MINOR < 34 and "resourceClaims" in spec:
                continue
            with self.subTest(name):
                metadata = {"name": f"{name}-{number}".lower(), "labels": labels}
                # No warning: `warn` is set to restricted, and a quota demands limits.
                shared().apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": hardened(spec)}, namespace=self.namespace)
                pod = shared().get("pod", metadata["name"], self.namespace)
                self.assertEqual(pod["status"]["qosClass"], "Guaranteed")
                container, place = sidecar(pod["spec"])
                self.assertEqual((place, container["restartPolicy"]), ("initContainers", "Always"))
                if name.startswith(("library", "kustomize")):
                    tokens = {volume["name"] for volume in pod["spec"]["volumes"] if "projected" in volume}
                    self.assertEqual(tokens & {mount["name"] for mount in container["volumeMounts"]}, set())
                admitted += 1
        print(f"{admitted} pods admitted as restricted, Guaranteed, under a quota of limits")
        self.assertGreater(admitted, 10)

    def test_limits_as_they_were_would_be_refused(self):
        """The test above can fail: without a CPU limit the pod is neither admitted nor Guaranteed."""
        _, labels, spec = next(ways_in())
        spec = hardened(spec)
        del sidecar(spec)[0]["resources"]["limits"]["cpu"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "no-limit", "labels": labels}, "spec": spec}
        with self.assertRaisesRegex(Failed, "must specify limits.cpu for: roofline-exporter"):
            shared().apply(pod, namespace=self.namespace)
        elsewhere = shared().namespace("no-quota")
        shared().apply(pod, namespace=elsewhere)
        self.assertEqual(shared().get("pod", "no-limit", elsewhere)["status"]["qosClass"], "Burstable")


class MissingClassTest(unittest.TestCase):
    def test_without_the_runtime_class_there_is_no_pod_and_the_replica_set_says_why(self):
        namespace = shared().namespace("no-class")
        _, labels, spec = next(each for each in ways_in() if each[0] == "library-nvml")
        spec = hardened(spec) | {"runtimeClassName": "absent"}
        template = {"metadata": {"labels": {**labels, "app": "vllm"}}, "spec": spec}
        deployment = {"selector": {"matchLabels": {"app": "vllm"}}, "template": template}
        shared().apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "vllm"}, "spec": deployment}, namespace=namespace)

        def failure():
            sets = shared().items("replicasets", namespace)
            return [each for one in sets for each in one["status"].get("conditions", []) if each["type"] == "ReplicaFailure"]

        (condition,) = shared().until("the ReplicaSet fails", failure)
        self.assertEqual(condition["reason"], "FailedCreate")
        self.assertIn('RuntimeClass "absent" not found', condition["message"])
        self.assertEqual(shared().items("pods", namespace), [])
