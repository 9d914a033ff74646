"""The chart, installed, upgraded, rolled back and uninstalled by every Helm: no operation fails or warns, and nothing is left."""
import json
import unittest

from cluster import KUBECTL, Failed, shared
from support import CHART, HELMS, VALUES, template
from test_chart import RULES

LEVELS = ("restricted", "baseline")
# What a namespace's admin gets where the Prometheus operator's roles are aggregated into `admin`.
MONITORS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "monitors", "labels": {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}},
    "rules": [{"apiGroups": ["monitoring.coreos.com"], "resources": ["podmonitors", "servicemonitors"], "verbs": ["*"]}],
}


# What the chart may render, as kubectl names it.
RESOURCES = {
    "Deployment": "deployments", "Service": "services", "ConfigMap": "configmaps", "NetworkPolicy": "networkpolicies", "PriorityClass": "priorityclasses",
    "ResourceClaimTemplate": "resourceclaimtemplates", "PodMonitor": "podmonitors", "ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules",
    "PodMonitoring": "podmonitorings", "ClusterPodMonitoring": "clusterpodmonitorings", "Rules": "rules.monitoring.googleapis.com", "ClusterRules": "clusterrules",
    "VMPodScrape": "vmpodscrapes", "VMRule": "vmrules", "GrafanaDashboard": "grafanadashboards",
}  # fmt: skip


def labelled(label):
    """Objects with a label, in any namespace."""
    served = ",".join(name for kind, name in RESOURCES.items() if kind in shared().kinds)
    return shared().kubectl("get", served, "--all-namespaces", "--selector", label, "--output=name").split()


class MatrixTest(unittest.TestCase):
    def setUp(self):
        for name in ("gpu-operator", "monitoring", "models"):
            if not shared().get("namespace", name, "default"):
                shared().namespace(name)

    def test_every_operation_passes_without_a_warning_and_leaves_nothing(self):
        operations, skipped = 0, set()
        for values in [None, *VALUES]:
            arguments = ["--values", values] if values else []
            things = template("helm4", CHART, "--api-versions", "monitoring.coreos.com/v1", *arguments)
            self.assertLessEqual({thing["kind"] for thing in things}, set(RESOURCES))
            missing = shared().missing(things)
            if missing:
                skipped.add(f"{values.name} ({', '.join(sorted(missing))})")
                continue
            for helm in HELMS:
                for level in LEVELS:
                    name = f"{values.name.removesuffix('-values.yaml') if values else 'default'}-{helm}-{level}"
                    with self.subTest(name):
                        operations += self.life(helm, shared().namespace(name, level), arguments)
        print(f"{operations} Helm operations without a warning; not for this version: {', '.join(sorted(skipped)) or 'none'}")
        self.assertGreater(operations, 50)

    def life(self, helm, namespace, arguments):
        """Installs, upgrades, rolls back and uninstalls; returns the number of operations."""
        command = lambda *words: shared().output(helm, *words, "--namespace", namespace)
        command("install", "roofline", CHART, *arguments)
        command("upgrade", "roofline", CHART, *arguments, "--set", "commonLabels.changed=yes")
        self.assertTrue(labelled("changed=yes"))
        command("rollback", "roofline", "1")
        self.assertFalse(labelled("changed=yes"))
        command("uninstall", "roofline", "--wait")
        shared().until("nothing is left", lambda: not labelled("app.kubernetes.io/instance=roofline"), 60)
        shared().command(KUBECTL, "delete", "namespace", namespace, "--wait=false")
        return 4

    def test_another_number_of_gpus_is_an_upgrade(self):
        arguments = ["--values", CHART / "ci" / "sidecar-dra-values.yaml"]
        if shared().missing(template("helm4", CHART, *arguments)):
            self.skipTest("resource.k8s.io/v1 is not served")
        namespace = shared().namespace("another-number")
        for words in (["install"], ["upgrade", "--set", "gpu.dra.template.count=4"], ["upgrade", "--set", "gpu.dra.template.deviceClassName=other"]):
            shared().output("helm4", words[0], "roofline", CHART, *arguments, *words[1:], "--namespace", namespace)
            (made,) = shared().items("resourceclaimtemplates", namespace)
        shared().output("helm4", "uninstall", "roofline", "--namespace", namespace)
        self.assertEqual(made["spec"]["spec"]["devices"]["requests"][0]["exactly"], {"deviceClassName": "other", "allocationMode": "ExactCount", "count": 2})


class TenantTest(unittest.TestCase):
    """An admin of two namespaces, and of nothing else."""

    @classmethod
    def setUpClass(cls):
        shared().apply(MONITORS)
        cls.namespaces = [shared().namespace(name) for name in ("tenant-a", "tenant-b")]
        for namespace in cls.namespaces:
            shared().kubectl("create", "rolebinding", "tenant", "--clusterrole=admin", "--user=tenant", "--namespace", namespace)
        shared().until("the role is aggregated", lambda: "podmonitors" in json.dumps(shared().get("clusterrole", "admin", "default")["rules"]))

    def helm(self, helm, *words, namespace):
        return shared().output(helm, *words, "--namespace", namespace, token="tenant")

    def test_one_release_name_in_both_namespaces(self):
        for helm in HELMS:
            for kind in ("podmonitor", "servicemonitor", "annotations"):
                with self.subTest(helm=helm, kind=kind):
                    for namespace in self.namespaces:
                        # Wherever the Service beside the dcgm-exporter would be: it is not this release's.
                        self.helm(helm, "install", "roofline", CHART, "--set", f"monitoring.kind={kind},gpu.dcgm.service.namespace=nowhere", namespace=namespace)
                    if kind == "podmonitor":
                        self.assertEqual([len(shared().items("podmonitors", namespace)) for namespace in self.namespaces], [1, 1])
                        self.assertEqual([len(shared().items("prometheusrules", namespace)) for namespace in self.namespaces], [0, 0])
                    for namespace in self.namespaces:
                        self.helm(helm, "uninstall", "roofline", namespace=namespace)

    def test_what_a_cluster_needs_once_is_refused_to_them(self):
        with self.assertRaisesRegex(Failed, "forbidden"):
            self.helm("helm4", "install", "wide", CHART, "--set", "clusterWide=true", namespace=self.namespaces[0])
        shared().output("helm4", "uninstall", "wide", "--ignore-not-found", "--namespace", self.namespaces[0])

    def test_rules_are_evaluated_once(self):
        for name in ("gpu-operator", "platform"):
            if not shared().get("namespace", name, "default"):
                shared().namespace(name)
        shared().output("helm4", "install", "roofline-cluster", CHART, "--set", "clusterWide=true,monitoring.kind=none", "--namespace", "platform")
        for namespace in self.namespaces:
            self.helm("helm4", "install", "roofline", CHART, namespace=namespace)
        try:
            things = json.loads(shared().kubectl("get", "prometheusrules", "--all-namespaces", "--output=json"))["items"]
            groups = [group["name"] for thing in things for group in thing["spec"]["groups"]]
            self.assertEqual((len(things), len(set(groups))), (len(RULES), len(groups)))
            # A second release that wants to be the cluster's is refused.
            with self.assertRaisesRegex(Failed, "cannot be imported into the current release"):
                shared().output("helm4", "install", "second", CHART, "--set", "clusterWide=true", "--namespace", self.namespaces[0])
        finally:
            shared().command("helm4", "uninstall", "second", "--namespace", self.namespaces[0])
            for namespace in self.namespaces:
                self.helm("helm4", "uninstall", "roofline", namespace=namespace)
            shared().output("helm4", "uninstall", "roofline-cluster", "--namespace", "platform")
