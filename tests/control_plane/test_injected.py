"""Admission policies that add the sidecar: by the API server itself, and by Kyverno's webhook."""
import os
import subprocess
import time
import unittest

import yaml

from cluster import HOME, KUBECTL, free_ports, shared
from support import DEPLOY, documents, read, sidecar
from test_manifests import KUSTOMIZE, kustomize
from test_pods import HARDENED

MAP = DEPLOY / "injection" / "mutatingadmissionpolicy.yaml"
KYVERNO = DEPLOY / "injection" / "kyverno.yaml"
FULL = {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"}


def pod(name, gpu=True, labels=None, **metadata):
    """A hardened pod of vLLM with a cache under /root and a secret."""
    limits = FULL if gpu else {key: FULL[key] for key in ("cpu", "memory")}
    mounts = [{"name": "cache", "mountPath": "/root/.cache/huggingface"}, {"name": "shm", "mountPath": "/dev/shm"}, {"name": "key", "mountPath": "/key"}]
    vllm = {"name": "vllm", "image": "vllm", "securityContext": HARDENED, "resources": {"requests": limits, "limits": limits}, "volumeMounts": mounts}
    volumes = [{"name": "cache", "emptyDir": {}}, {"name": "shm", "emptyDir": {"medium": "Memory"}}, {"name": "key", "secret": {"secretName": "key"}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}, **metadata}, "spec": {"containers": [vllm], "volumes": volumes}}


class Injection:
    """What either policy does; a subclass starts it, and names a namespace of its own."""

    def created(self, thing, namespace=None):
        namespace = namespace or self.namespace
        shared().kubectl("create", "--namespace", namespace, "--filename=-", input=yaml.safe_dump(thing))
        return shared().get("pod", thing["metadata"]["name"], namespace)

    def injected(self):
        """Waits until the policy is in force: it is taken up a moment after it was written."""
        numbers = iter(range(1000))

        def seen():
            time.sleep(1)
            return sidecar(self.created(pod(f"probe-{next(numbers)}"))["spec"])

        shared().until("the policy is in force", seen, 90)

    def test_a_pod_with_a_gpu_gets_the_sidecar_of_the_components(self):
        made = self.created(pod("vllm"))
        container, place = sidecar(made["spec"])
        self.assertEqual((place, made["spec"]["initContainers"][0]["name"]), ("initContainers", "roofline-exporter"))
        self.assertEqual(made["metadata"]["labels"], {"vllm-roofline-exporter/scrape": "true"})
        self.assertEqual(made["status"]["qosClass"], "Guaranteed")
        # The same container as the component's, in the same namespace, as the API server has it.
        (source,) = [thing for thing in kustomize(KUSTOMIZE / "examples" / "plain") if thing["kind"] == "Deployment"]
        spec = source["spec"]["template"]["spec"]
        plain = shared().namespace(f"{self.namespace}-plain", "privileged")
        wanted, _ = sidecar(self.created({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "vllm"}, "spec": spec}, plain)["spec"])
        for key in ("image", "args", "ports", "livenessProbe", "resources", "securityContext", "restartPolicy"):
            self.assertEqual(container[key], wanted[key], key)
        variables = {each["name"]: each.get("value") for each in container["env"]}
        expected = {each["name"]: each.get("value") for each in wanted["env"]}
        for name in ("ROOFLINE__VLLM_URL", "ROOFLINE__DCGM_URL", "ROOFLINE__DCGM_POD", "HF_HOME"):
            self.assertEqual(variables[name], expected[name])
        # vLLM's cache where user 65532 can read it, no secret, no token.
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        self.assertEqual(mounts, {"/hf-cache": "cache", "/var/run/secrets/kubernetes.io/serviceaccount": "roofline-no-token"})
        self.assertTrue(all(mount["readOnly"] for mount in container["volumeMounts"]))

    def test_others_stay_as_they_are(self):
        other = shared().namespace(f"{self.namespace}-other")
        self.assertIsNone(sidecar(self.created(pod("no-gpu", gpu=False))["spec"]))
        self.assertIsNone(sidecar(self.created(pod("opted-out", labels={"vllm-roofline-exporter/inject": "false"}))["spec"]))
        self.assertIsNone(sidecar(self.created(pod("elsewhere"), other)["spec"]))

    def test_a_pod_that_has_it_gets_no_second(self):
        (source,) = read(KUSTOMIZE / "sidecar" / "sidecar.yaml")
        thing = pod("has-it")
        spec = source["spec"]["template"]["spec"]
        thing["spec"]["initContainers"] = spec["initContainers"]
        thing["spec"]["volumes"] += spec["volumes"]
        self.assertEqual(len(self.created(thing)["spec"]["initContainers"]), 1)

    def test_vllm_elsewhere_and_an_init_container_before(self):
        thing = pod("elsewhere", annotations={"vllm-roofline-exporter/vllm-url": "http://127.0.0.1:8200"})
        limits = {key: FULL[key] for key in ("cpu", "memory")}
        thing["spec"]["initContainers"] = [{"name": "download", "image": "download", "securityContext": HARDENED, "resources": {"requests": limits, "limits": limits}}]
        made = self.created(thing)["spec"]["initContainers"]
        self.assertEqual([each["name"] for each in made], ["roofline-exporter", "download"])
        self.assertIn({"name": "ROOFLINE__VLLM_URL", "value": "http://127.0.0.1:8200"}, made[0]["env"])


class AdmissionPolicyTest(Injection, unittest.TestCase):
    namespace = "injected"

    @classmethod
    def setUpClass(cls):
        things = read(MAP)
        if shared().missing(things):
            raise unittest.SkipTest("MutatingAdmissionPolicy v1 is not served")
        shared().apply(*things)
        shared().namespace(cls.namespace, **{"vllm-roofline-exporter/inject": "true"})
        cls().injected()

    @classmethod
    def tearDownClass(cls):
        shared().kubectl("delete", "--filename", MAP)


class KyvernoTest(Injection, unittest.TestCase):
    """Needs Kyverno's admission controller and its install manifest in $CONTROL_PLANE/kyverno, as `kyverno` and `install.yaml`."""

    namespace = "injected-kyverno"

    @classmethod
    def setUpClass(cls):
        program = HOME / "kyverno" / "kyverno"
        if not program.exists():
            raise unittest.SkipTest(f"no {program}")
        for thing in documents((HOME / "kyverno" / "install.yaml").read_text(encoding="utf-8")):
            if thing["kind"] != "Deployment" or thing["metadata"]["name"] == "kyverno-admission-controller":
                shared().command(KUBECTL, "apply", "--server-side", "--force-conflicts", "--filename=-", input=yaml.safe_dump(thing))
        (port,) = free_ports(1)
        service = "kyverno-svc.kyverno.svc"
        variables = {
            "KYVERNO_NAMESPACE": "kyverno", "KYVERNO_POD_NAME": "kyverno-0", "KYVERNO_SERVICEACCOUNT_NAME": "kyverno-admission-controller",
            "KYVERNO_ROLE_NAME": "kyverno:admission-controller", "KYVERNO_SVC": "kyverno-svc", "KYVERNO_DEPLOYMENT": "kyverno-admission-controller",
            "INIT_CONFIG": "kyverno", "METRICS_CONFIG": "kyverno-metrics", "TUF_ROOT": str(shared().path / "sigstore"),
        }  # fmt: skip
        arguments = [
            f"--kubeconfig={shared().kubeconfig('admin')}", f"--serverIP=127.0.0.1:{port}", "--webhookServerHost=127.0.0.1", f"--webhookServerPort={port}",
            f"--caSecretName={service}.kyverno-tls-ca", f"--tlsSecretName={service}.kyverno-tls-pair", "--disableMetrics=true", "--admissionReports=false",
            "--backgroundServiceAccountName=system:serviceaccount:kyverno:kyverno-background-controller",
            "--reportsServiceAccountName=system:serviceaccount:kyverno:kyverno-reports-controller", "--controllerRuntimeMetricsAddress=0", "--crdWatcher=false",
        ]  # fmt: skip
        with open(shared().path / "kyverno.log", "wb") as log:
            cls.process = subprocess.Popen([program, *arguments], stdout=log, stderr=log, env={**os.environ, **variables})
        shared().until("Kyverno registers its webhooks", lambda: shared().get("mutatingwebhookconfiguration", "kyverno-resource-mutating-webhook-cfg", "default"), 120)
        # Its own webhook refuses until its certificate is there.
        shared().until("Kyverno takes the policy", lambda: shared().command(KUBECTL, "apply", "--filename", KYVERNO).returncode == 0, 120)
        shared().namespace(cls.namespace, **{"vllm-roofline-exporter/inject": "true"})
        cls().injected()

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        cls.process.wait(30)
        shared().command(KUBECTL, "delete", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "--all")
