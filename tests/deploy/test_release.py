"""Image and release: versions that agree, a build context that suffices, a workflow that is valid and pinned."""
import os
import pathlib
import re
import shutil
import tempfile
import tomllib
import unittest

import yaml

from support import CHART, DEPLOY, ROOT, output, run

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
WORKFLOW = ROOT / ".github" / "workflows" / "release.yaml"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["version"]


class VersionTest(unittest.TestCase):
    def test_the_chart_is_of_the_programs_version(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
        self.assertEqual((chart["version"], chart["appVersion"]), (VERSION, VERSION))

    def test_every_manifest_names_the_image_of_this_version(self):
        found = 0
        for path in [*DEPLOY.rglob("*.yaml"), *(ROOT / "docs").rglob("*.md")]:
            for tag in re.findall(r"ghcr\.io/vllm-roofline-exporter/vllm-roofline-exporter:([\w.-]+)", path.read_text(encoding="utf-8")):
                found += 1
                self.assertEqual(tag, VERSION, path)
        self.assertGreater(found, 0)


class ContextTest(unittest.TestCase):
    """What .dockerignore admits is all that the build needs."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.context = pathlib.Path(cls.folder.name)
        lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert "*" in lines, "everything is left out but what is named"
        for pattern in (line[1:] for line in lines if line.startswith("!")):
            for path in ROOT.glob(pattern):
                target = cls.context / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if path.is_dir() else shutil.copy
                copy(path, target)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_cargo_finds_what_it_builds(self):
        output("cargo", "fetch", "--locked", "--offline", "--target", "x86_64-unknown-linux-gnu", cwd=self.context)

    def test_files_that_are_built_in_are_there(self):
        included = 0
        for path in (self.context / "src").rglob("*.rs"):
            for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', path.read_text(encoding="utf-8")):
                if "tests/fixtures" not in name:
                    included += 1
                    self.assertTrue((path.parent / name).exists(), f"{path}: {name}")
        self.assertGreater(included, 0)

    def test_an_architecture_without_a_target_is_refused_by_name(self):
        done = run(DEPLOY / "docker" / "toolchain.sh", "install", "riscv64")
        self.assertEqual(done.returncode, 2)
        self.assertIn("riscv64", done.stderr)

    def test_each_architecture_gets_its_target_and_linker(self):
        foreign = {"amd64": "arm64", "arm64": "amd64"}[output("dpkg", "--print-architecture").strip()]
        triplet = {"amd64": "x86_64", "arm64": "aarch64"}
        for arch in ("amd64", "arm64"):
            with self.subTest(arch), tempfile.TemporaryDirectory() as folder:
                cargo = pathlib.Path(folder, "bin", "cargo")
                cargo.parent.mkdir()
                # Writes what it was given into what it was to build.
                built = f"target/{triplet[arch]}-unknown-linux-gnu/release/vllm-roofline-exporter"
                cargo.write_text(f'#!/bin/sh\nmkdir -p "$(dirname {built})"\n(echo "$@"; env) >{built}\n', encoding="utf-8")
                cargo.chmod(0o755)
                environment = {"PATH": f"{cargo.parent}:{os.environ['PATH']}", "HOME": folder}
                output(DEPLOY / "docker" / "toolchain.sh", "build", arch, f"{folder}/out/program", cwd=folder, env=environment)
                given = pathlib.Path(folder, "out", "program").read_text(encoding="utf-8")
                self.assertIn(f"build --locked --release --target {triplet[arch]}-unknown-linux-gnu\n", given)
                self.assertIn(f"--remap-path-prefix={folder}=.", given)
                linker = f"CARGO_TARGET_{triplet[arch].upper()}_UNKNOWN_LINUX_GNU_LINKER={triplet[arch]}-linux-gnu-gcc\n"
                compiler = f"CC_{triplet[arch]}_unknown_linux_gnu={triplet[arch]}-linux-gnu-gcc\n"
                self.assertEqual((linker in given, compiler in given), (arch == foreign,) * 2)

    def test_the_image_runs_as_somebody_and_needs_no_shell(self):
        text = DOCKERFILE.read_text(encoding="utf-8")
        final = text[text.rindex("\nFROM ") :]
        self.assertIn("\nUSER 65532:65532\n", final)
        self.assertNotIn("\nRUN ", final)
        self.assertIn('ENTRYPOINT ["', final)


class WorkflowTest(unittest.TestCase):
    def test_it_is_a_workflow(self):
        output("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)

    def test_actions_are_pinned_to_a_commit_with_its_version(self):
        uses = [action for path in WORKFLOWS for action in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))]
        self.assertGreater(len(uses), 3)
        for action in uses:
            self.assertRegex(action, r"^[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")

    def test_its_files_are_there(self):
        text = WORKFLOW.read_text(encoding="utf-8")
        for name in ("deploy/docker/Dockerfile", "deploy/helm/vllm-roofline-exporter", "LICENSE", "README.md"):
            self.assertIn(name, text)
            self.assertTrue((ROOT / name).exists(), name)
