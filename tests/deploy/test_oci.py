"""The image layout that tests/image.sh writes."""
import contextlib
import gzip
import hashlib
import io
import json
import pathlib
import tarfile
import tempfile
import unittest

import oci


class LayoutTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "base" / "etc").mkdir(parents=True)
        (self.folder / "base" / "etc" / "passwd").write_text("nonroot:x:65532:65532::/:\n", encoding="utf-8")
        (self.folder / "base" / "lib").symlink_to("usr/lib")
        (self.folder / "program").write_bytes(b"\x7fELF")

    def written(self, name):
        path = self.folder / name
        with contextlib.redirect_stdout(io.StringIO()):
            oci.main(path, *(f"{arch}={self.folder / 'base'}:{self.folder / 'program'}" for arch in ("amd64", "arm64")))
        return path

    def blob(self, layout, description):
        content = (layout / "blobs" / description["digest"].replace(":", "/")).read_bytes()
        self.assertEqual(description["digest"], f"sha256:{hashlib.sha256(content).hexdigest()}")
        self.assertEqual(description["size"], len(content))
        return content

    def test_both_architectures_are_complete_and_set_up_as_the_dockerfile_says(self):
        layout = self.written("layout")
        index = json.loads((layout / "index.json").read_text(encoding="utf-8"))
        self.assertEqual([each["platform"]["architecture"] for each in index["manifests"]], ["amd64", "arm64"])
        for description in index["manifests"]:
            manifest = json.loads(self.blob(layout, description))
            config = json.loads(self.blob(layout, manifest["config"]))
            self.assertEqual(config["architecture"], description["platform"]["architecture"])
            self.assertEqual(config["config"]["User"], "65532:65532")
            self.assertEqual(config["config"]["Entrypoint"], ["/usr/bin/vllm-roofline-exporter"])
            tars = [gzip.decompress(self.blob(layout, layer)) for layer in manifest["layers"]]
            self.assertEqual(config["rootfs"]["diff_ids"], [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars])
            names = [sorted(tarfile.open(fileobj=io.BytesIO(tar)).getnames()) for tar in tars]
            self.assertEqual(names, [["etc", "etc/passwd", "lib"], ["usr/bin/vllm-roofline-exporter"]])

    def test_the_same_input_gives_the_same_digests(self):
        first, second = (json.loads((self.written(name) / "index.json").read_text(encoding="utf-8")) for name in ("one", "two"))
        self.assertEqual(first, second)
