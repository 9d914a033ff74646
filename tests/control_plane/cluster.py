"""A control plane of Kubernetes for the tests: etcd, kube-apiserver and kube-controller-manager on loopback. There is no kubelet, so pods
are admitted, created by their controllers, and stay Pending."""
import atexit
import contextlib
import functools
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "deploy"))
from support import ROOT, read

HOME = pathlib.Path(os.environ.get("CONTROL_PLANE", ROOT / "target" / "control-plane"))
VERSION = os.environ["KUBERNETES"]
MINOR = int(VERSION.split(".")[1])
KUBECTL = "kubectl37" if MINOR > 32 else "kubectl31"
# An admin of single namespaces, as a cluster's user is: the role `admin`, with what the Prometheus operator adds to it where RBAC
# aggregation is on.
TOKENS = {"admin": ("root", "system:masters"), "tenant": ("tenant", "")}
# Kinds that the API server serves only on request.
BETAS = ["admissionregistration.k8s.io/v1beta1=true"] if MINOR in (34, 35) else []


class Failed(Exception):
    """A command that failed."""


class ControlPlane:
    """Three processes in a folder, ended by `stop`."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="control-plane-")
        self.path = pathlib.Path(self.folder.name)
        self.processes = []
        self.kinds = set()

    def start(self):
        client, peer, api, controllers = free_ports(4)
        program = HOME / VERSION
        key = self.path / "service-account.key"
        run("openssl", "genrsa", "-out", key, "2048")
        tokens = [f"{token},{user},{user},{group}" for token, (user, group) in TOKENS.items()]
        (self.path / "tokens.csv").write_text("\n".join(tokens) + "\n", encoding="utf-8")
        self.url = f"https://127.0.0.1:{api}"
        self.launch(
            program / "etcd", f"--data-dir={self.path / 'etcd'}", f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}", f"--initial-cluster=default=http://127.0.0.1:{peer}",
        )  # fmt: skip
        self.launch(
            program / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", "--bind-address=127.0.0.1", f"--secure-port={api}",
            f"--cert-dir={self.path / 'certificates'}", "--service-cluster-ip-range=10.0.0.0/16", f"--token-auth-file={self.path / 'tokens.csv'}",
            "--authorization-mode=RBAC", "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", *(["--runtime-config=" + ",".join(BETAS), "--feature-gates=MutatingAdmissionPolicy=true"] if BETAS else []),
        )  # fmt: skip
        self.until("the API server is ready", self.ready, 180)
        self.launch(
            program / "kube-controller-manager", f"--kubeconfig={self.kubeconfig('admin')}", f"--service-account-private-key-file={key}",
            "--use-service-account-credentials", "--leader-elect=false", f"--secure-port={controllers}", f"--cert-dir={self.path / 'controllers'}",
        )  # fmt: skip
        self.until("there is a default service account", lambda: self.get("serviceaccount", "default", "default"), 120)

    def launch(self, program, *arguments):
        with open(self.path / f"{program.name}.log", "wb") as log:
            self.processes.append(subprocess.Popen([program, *arguments], stdout=log, stderr=log))

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.folder.cleanup()

    def ready(self):
        context = ssl._create_unverified_context()
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.url}/readyz", context=context, timeout=5).status == 200
        return False

    def until(self, what, condition, seconds=60):
        """Waits until a condition holds."""
        end = time.monotonic() + seconds
        while True:
            found = condition()
            if found:
                return found
            gone = [process.args[0] for process in self.processes if process.poll() is not None]
            if gone or time.monotonic() > end:
                logs = "".join(f"\n--- {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in self.path.glob("*.log"))
                raise Failed(f"not seen within {seconds} s: {what}; ended: {gone}{logs}")
            time.sleep(0.1)

    def kubeconfig(self, token):
        path = self.path / f"{token}.kubeconfig"
        user = {"name": token, "user": {"token": token}}
        server = {"name": "here", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}
        context = {"name": "here", "context": {"cluster": "here", "user": token, "namespace": "models"}}
        config = {"apiVersion": "v1", "kind": "Config", "users": [user], "clusters": [server], "contexts": [context], "current-context": "here"}
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def environment(self, token="admin"):
        helm = {f"HELM_{name}_HOME": str(self.path / "helm" / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig(token)), **helm}

    def command(self, *words, token="admin", **more):
        """Runs a command against this control plane and returns it, whatever its exit code."""
        return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=300, env=self.environment(token), **more)

    def output(self, *words, **more):
        """The output of a command that has to succeed without a warning."""
        done = self.command(*words, **more)
        warnings = [line for line in done.stderr.splitlines() if "warning" in line.lower() or "level=WARN" in line]
        if done.returncode or warnings:
            raise Failed(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
        return done.stdout

    def kubectl(self, *words, **more):
        return self.output(KUBECTL, *words, **more)

    def get(self, kind, name, namespace):
        done = self.command(KUBECTL, "get", kind, name, "--namespace", namespace, "--output=json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def items(self, kind, namespace, *words):
        return json.loads(self.kubectl("get", kind, "--namespace", namespace, "--output=json", *words))["items"]

    def apply(self, *things, namespace="default", words=()):
        """Applies objects by the server's side, strictly."""
        text = yaml.safe_dump_all(things)
        return self.kubectl("apply", "--server-side", "--validate=strict", "--namespace", namespace, "--filename=-", *words, input=text)

    def install_crds(self):
        """The operators' CRDs of the kinds that are used here. One that this version refuses (a newer expression in it) is left out."""
        used = set(custom_kinds())
        for path in sorted((HOME / "crds").glob("*.yaml")):
            for crd in (each for each in read(path) if each["spec"]["names"]["kind"] in used):
                done = self.command(KUBECTL, "create", "--filename=-", input=yaml.safe_dump(crd))
                if done.returncode:
                    print(f"{crd['metadata']['name']} is not for Kubernetes {VERSION}: {done.stderr.strip()[:200]}", file=sys.stderr)
        self.kubectl("wait", "--for=condition=Established", "--timeout=120s", "crd", "--all")
        self.kinds = {line.split()[-1] for line in self.kubectl("api-resources", "--no-headers").splitlines()}
        if MINOR < 34:
            # Served as betas and alphas there, which nothing here speaks.
            self.kinds.discard("ResourceClaimTemplate")

    def missing(self, things):
        """Kinds of `things` that this control plane does not serve."""
        return {thing["kind"] for thing in things} - self.kinds

    def namespace(self, name, level="restricted", **labels):
        labels = {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn")} | labels
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        self.until("there is a service account", lambda: self.get("serviceaccount", "default", name))
        return name


def custom_kinds():
    """Kinds of which the offline tests have a schema."""
    return [path.stem for path in (ROOT / "tests" / "deploy" / "schemas").glob("*.json")]


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def run(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


@functools.cache
def shared():
    """The control plane of this run."""
    control_plane = ControlPlane()
    atexit.register(control_plane.stop)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    control_plane.start()
    control_plane.install_crds()
    return control_plane
