"""The checker itself: what it must refuse."""
import copy
import unittest

import checker
from support import DEPLOY, one, read

POD_MONITOR = DEPLOY / "kustomize" / "podmonitor" / "podmonitor.yaml"


class CheckerTest(unittest.TestCase):
    def refuses(self, thing, words):
        with self.assertRaisesRegex(checker.Invalid, words):
            checker.check(thing)

    def test_a_misspelt_field_of_kubernetes_fails(self):
        thing = one(read(DEPLOY / "kustomize" / "examples" / "with-init-containers" / "vllm.yaml"), "Deployment")
        checker.check(thing)
        thing["spec"]["template"]["spec"]["initContainers"][0]["restartPolcy"] = "Always"
        self.refuses(thing, "Deployment vllm: .*restartPolcy")

    def test_a_misspelt_field_of_a_custom_resource_fails(self):
        thing = one(read(POD_MONITOR), "PodMonitor")
        checker.check(thing)
        misspelt = copy.deepcopy(thing)
        misspelt["spec"]["podMetricsEndpoint"] = misspelt["spec"].pop("podMetricsEndpoints")
        self.refuses(misspelt, "PodMonitor vllm-roofline-exporter: .*podMetricsEndpoint")
        misspelt = copy.deepcopy(thing)
        misspelt["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s"
        self.refuses(misspelt, "intervall")
        misspelt["spec"]["podMetricsEndpoints"] = [{"port": "roofline", "interval": "15 s"}]
        self.refuses(misspelt, "15 s")

    def test_a_misspelt_field_of_a_pod_inside_a_custom_resource_fails(self):
        thing = one(read(DEPLOY / "layouts" / "leaderworkerset.yaml"), "LeaderWorkerSet")
        checker.check(thing)
        thing["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["initContainers"][0]["lifenessProbe"] = {}
        self.refuses(thing, "lifenessProbe")

    def test_a_kind_without_a_schema_fails(self):
        self.refuses({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}}, "no schema for example.com/v1 Thing")

    def test_a_pod_that_is_not_restricted_is_told(self):
        spec = {"containers": [{"name": "roofline-exporter", "securityContext": {"privileged": True, "runAsUser": 0}}], "hostPID": True}
        self.assertEqual(
            set(checker.restricted(spec)),
            {"hostPID", "allowPrivilegeEscalation", "runAsNonRoot", "capabilities", "seccompProfile", "privileged", "runAsUser 0"},
        )
