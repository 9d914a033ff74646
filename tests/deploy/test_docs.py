"""The documents: commands that work, files and values that exist."""
import re
import unittest

import yaml

from support import CHART, DEPLOY, ROOT, documents, output

GUIDE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")


def commands(start):
    """Commands of the guide's shell blocks that start with `start`, continued lines joined, comments cut off."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    lines = (line.split("   #")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines())
    return [line.split() for line in lines if line.startswith(start)]


class GuideTest(unittest.TestCase):
    def test_files_that_it_names_are_there(self):
        named = set(re.findall(r"deploy/[\w./-]+[\w/]", GUIDE))
        self.assertGreater(len(named), 10)
        for name in named:
            self.assertTrue((ROOT / name).exists(), name)
        for link in re.findall(r"\]\((\.\./[^)#]+|[\w-]+\.md)\)", GUIDE):
            self.assertTrue((ROOT / "docs" / link).exists(), link)

    def test_its_helm_installs_render(self):
        installs = commands("helm install")
        self.assertEqual(len(installs), 3)
        for words in installs:
            self.assertEqual(words[3], "deploy/helm/vllm-roofline-exporter")
            options = [word.replace("model.config=config.json", f"model.config={DEPLOY / 'helm' / 'vllm-roofline-exporter' / 'Chart.yaml'}") for word in words[4:]]
            self.assertTrue(documents(output("helm4", "template", words[2], CHART, *options)))

    def test_values_that_it_names_are_there(self):
        values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
        named = set(re.findall(r"`((?:gpu|model|vllm|networkPolicy|monitoring|prometheusRule|sidecar|securityContext)\.[\w.]+)", GUIDE))
        self.assertGreater(len(named), 5)
        for name in named:
            node = values
            for key in name.split("."):
                self.assertIn(key, node, name)
                node = node[key]

    def test_the_overrides_that_it_shows_name_alerts_that_are_there(self):
        (block,) = (block for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) if block.startswith("prometheusRule"))
        rendered = output("helm4", "template", "test", CHART, "--set", "monitoring.kind=podmonitor,clusterWide=true", "--values", "-", input=block)
        self.assertIn("for: 2h", rendered)

    def test_metrics_that_it_names_are_exported(self):
        catalogue = (ROOT / "src" / "export" / "catalogue.rs").read_text(encoding="utf-8")
        for name in re.findall(r"`vllm_roofline_(\w+)", GUIDE) + re.findall(r"`(missing_fact)\{", GUIDE):
            self.assertIn(f"{name}\"", catalogue, name)
