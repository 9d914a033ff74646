"""The image's last steps without a container engine: a root file system of the base's packages, the program in it, run as the chart runs it."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

from support import ROOT, binary, output

USER = "65532"


@unittest.skipUnless(shutil.which("apt-get") and shutil.which("bwrap") and shutil.which("setpriv"), "needs Debian, bwrap and setpriv")
class ImageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program = binary()
        if program is None:
            raise unittest.SkipTest("no build of the exporter")
        cls.base = ROOT / "target" / "deploy-tools" / "rootfs"
        if not (cls.base / "etc" / "ssl" / "certs" / "ca-certificates.crt").exists():
            output(ROOT / "tests" / "deploy" / "rootfs.sh", cls.base)
        shutil.copy(program, cls.base / "usr" / "bin" / "vllm-roofline-exporter")

    def command(self, *arguments, root=None):
        """The program as user 65532, without capabilities, with a root file system that cannot be written, no environment, no shell."""
        become = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"] if os.getuid() == 0 else []
        sandbox = ["bwrap", "--ro-bind", root or self.base, "/", "--proc", "/proc", "--dev", "/dev", "--unshare-user", "--uid", USER, "--gid", USER]
        sandbox += ["--unshare-pid", "--cap-drop", "ALL", "--die-with-parent", "--clearenv", "--chdir", "/"]
        return [str(word) for word in (*become, *sandbox, "/usr/bin/vllm-roofline-exporter", *arguments)]

    def test_it_starts_and_there_is_no_shell(self):
        self.assertIn("vllm-roofline-exporter", output(*self.command("--version")))
        self.assertFalse((self.base / "bin" / "sh").exists())
        self.assertIn("h100-sxm5-80gb", output(*self.command("gpus")))

    def served(self, *arguments, root=None, settled=lambda page: True):
        """The page of `serve` once it is `settled`, its log, and what the kernel says of the process."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = "127.0.0.1:{}".format(probe.getsockname()[1])
        with tempfile.TemporaryFile("w+") as log:
            command = self.command("serve", "--web.listen-address", address, "--tick", "500ms", *arguments, root=root)
            with subprocess.Popen(command, stdout=log, stderr=log) as process:
                try:
                    page = self.page(process, address, settled)
                    status = self.status(process.pid)
                finally:
                    process.terminate()
            log.seek(0)
            return page, log.read(), status

    def page(self, process, address, settled):
        """Waits for readiness and for a page that is `settled`: the first tick may be over before a GPU's first reading."""
        get = lambda path: urllib.request.urlopen(f"http://{address}{path}", timeout=5).read().decode()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if get("/-/ready") == "ready\n" and settled(page := get("/metrics")):
                    return page
            except OSError:
                self.assertIsNone(process.poll(), "it ended")
            time.sleep(0.1)
        self.fail("it does not serve what is waited for")

    def status(self, parent):
        """/proc/PID/status of the program under `parent`."""
        while True:
            children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
            status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{parent}/status").read_text(encoding="utf-8").splitlines() if ":\t" in line)
            if status["Name"].startswith("vllm-roofline"):
                return status
            (parent,) = children

    def test_it_serves_without_vllm_gpu_privileges_or_a_place_to_write(self):
        page, _, status = self.served("--gpu-source", "auto")
        self.assertIn("\nvllm_roofline_up 0\n", page)
        self.assertEqual(set(status["Uid"].split()), {USER})
        self.assertEqual({status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapAmb")}, {"0" * 16})
        self.assertEqual(status["NoNewPrivs"], "1")

    def test_it_loads_the_drivers_library_where_it_is_and_does_without_where_not(self):
        page, log, _ = self.served("--gpu-source", "nvml", settled=lambda page: 'reason="library_missing"} 0' not in page)
        self.assertIn("libnvidia-ml.so.1 cannot be loaded", log)
        self.assertIn('\nvllm_roofline_source_success{source="nvml"} 0\n', page)
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder, "root")
            shutil.copytree(self.base, root, symlinks=True)
            os.chmod(folder, 0o755)
            library = root / "usr" / "lib" / "libnvidia-ml.so.1"
            output("cc", "-shared", "-fPIC", "-o", library, ROOT / "tests" / "gpus" / "fake_nvml.c", "-lm")
            page, _, _ = self.served("--gpu-source", "nvml", root=root, settled=lambda page: 'source_success{source="nvml"} 1' in page)
        self.assertIn('\nvllm_roofline_source_success{source="nvml"} 1\n', page)
