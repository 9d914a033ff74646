"""The Helm chart, by Helm 3 and Helm 4."""
import json
import pathlib
import tarfile
import tempfile
import unittest

import yaml

import checker
from support import CHART, DEPLOY, HELMS, OPERATOR, ROOT, VALUES, binary, of_kind, one, output, own_chart, pod_specs, run, sidecar, template

DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
RULES = [path for path in sorted((DEPLOY / "prometheus").glob("*.yaml")) if "groups" in yaml.safe_load(path.read_text(encoding="utf-8"))]


def alerts():
    groups = (group for path in RULES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"])
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


class ChartTest(unittest.TestCase):
    def each(self):
        """Every helm with every values file, and with none."""
        for helm in HELMS:
            for values in [None, *VALUES]:
                yield helm, ["--values", values] if values else []

    def test_lint_finds_nothing(self):
        for helm, values in self.each():
            output(helm, "lint", "--strict", CHART, *values)

    def test_every_object_is_valid(self):
        for helm, values in self.each():
            for thing in template(helm, CHART, *OPERATOR, *values):
                checker.check(thing)

    def test_both_helms_render_the_same(self):
        for values in VALUES:
            rendered = [template(helm, CHART, *OPERATOR, "--values", values) for helm in HELMS]
            self.assertEqual(*(sorted(map(json.dumps, each)) for each in rendered))

    def test_own_pods_are_restricted_and_hold_no_token(self):
        pods = [spec for helm, values in self.each() for thing in template(helm, CHART, *values) for spec in pod_specs(thing)]
        self.assertTrue(pods)
        for spec in pods:
            self.assertEqual(checker.restricted(spec), [])
            self.assertIs(spec["automountServiceAccountToken"], False)
            self.assertIs(spec["enableServiceLinks"], False)
            self.assertTrue(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"])

    def test_by_default_only_objects_of_the_own_namespace_come(self):
        """What a namespace's admin may create: neither cluster-wide objects nor objects of other namespaces."""
        for helm, things in ((helm, template(helm, CHART, *OPERATOR)) for helm in HELMS):
            self.assertEqual({(thing["kind"], thing["metadata"]["namespace"]) for thing in things}, {("PodMonitor", "models")}, helm)

    def test_what_a_cluster_needs_once_comes_on_demand(self):
        things = template("helm4", CHART, *OPERATOR, "--set", "clusterWide=true")
        self.assertEqual({thing["kind"] for thing in things}, {"PodMonitor", "PrometheusRule", "ConfigMap", "Service"})
        for switch, kind in {"gpu.dcgm.service.create": "Service", "prometheusRule.enabled": "PrometheusRule", "dashboards.enabled": "ConfigMap"}.items():
            kinds = lambda *settings: {thing["kind"] for thing in template("helm4", CHART, *OPERATOR, *settings)}
            self.assertNotIn(kind, kinds("--set", f"clusterWide=true,{switch}=false"))
            self.assertIn(kind, kinds("--set", f"{switch}=true"))

    def test_one_release_name_in_two_namespaces_does_not_collide(self):
        for values in [None, *VALUES]:
            places = []
            for namespace in ("models", "other"):
                arguments = ["--values", values] if values else []
                own = [*arguments, "--namespace", namespace, "--set", "clusterWide=false,dashboards.namespace=", "--set", "monitoring.namespaces=null"]
                things = [thing for thing in template("helm4", CHART, *OPERATOR, *own) if thing["kind"] != "PriorityClass"]
                places += {(thing["kind"], thing["metadata"].get("namespace", namespace), thing["metadata"]["name"]) for thing in things}
            self.assertEqual(len(places), len(set(places)), values)

    def test_each_monitoring_kind_has_its_own_objects(self):
        kinds = {
            "podmonitor": {"PodMonitor", "PrometheusRule"},
            "servicemonitor": {"Service", "ServiceMonitor", "PrometheusRule"},
            "gmp": {"PodMonitoring", "ClusterRules"},
            "victoriametrics": {"VMPodScrape", "VMRule"},
            "annotations": set(),
            "none": set(),
        }
        for helm in HELMS:
            for kind, wanted in kinds.items():
                with self.subTest(helm=helm, kind=kind):
                    settings = f"clusterWide=true,dashboards.enabled=false,gpu.mode=nvml,monitoring.kind={kind}"
                    things = template(helm, CHART, "--set", settings)
                    for thing in things:
                        checker.check(thing)
                    self.assertEqual({thing["kind"] for thing in things}, wanted)
        (everywhere,) = template("helm4", CHART, "--set", "monitoring.kind=gmp,monitoring.namespaces={*}")
        self.assertEqual((everywhere["kind"], "namespace" in everywhere["metadata"]), ("ClusterPodMonitoring", False))
        own = of_kind(template("helm4", CHART, "--set", "monitoring.kind=gmp,prometheusRule.enabled=true"), "Rules")
        self.assertEqual({rule["metadata"]["namespace"] for rule in own}, {"models"})

    def test_monitoring_comes_by_itself_where_the_cluster_knows_it(self):
        kinds = lambda *more: {thing["kind"] for thing in template("helm4", CHART, "--set", "clusterWide=true", *more)}
        self.assertEqual(kinds() & {"PodMonitor", "PrometheusRule"}, set())
        self.assertEqual(kinds(*OPERATOR) & {"PodMonitor", "PrometheusRule"}, {"PodMonitor", "PrometheusRule"})

    def test_annotations_reach_every_object(self):
        for values in VALUES:
            for thing in template("helm4", CHART, *OPERATOR, "--values", values, "--set", "extraObjects=null", "--set-string", "commonAnnotations.example\\.com/wave=1"):
                self.assertEqual(thing["metadata"]["annotations"]["example.com/wave"], "1", thing["kind"])

    def test_labels_by_which_a_prometheus_finds_them(self):
        things = template("helm4", CHART, *OPERATOR, "--set", "clusterWide=true,additionalLabels.release=kps")
        for thing in of_kind(things, "PodMonitor") + of_kind(things, "PrometheusRule"):
            self.assertEqual(thing["metadata"]["labels"]["release"], "kps")

    def test_openshift_can_choose_the_user(self):
        values = ["--set", "mode=standalone,gpu.mode=none,securityContext.runAsUser=null,securityContext.runAsGroup=null"]
        for helm in HELMS:
            spec = one(template(helm, CHART, *values), "Deployment")["spec"]["template"]["spec"]
            self.assertNotIn("runAsUser", spec["containers"][0]["securityContext"])
            self.assertEqual(checker.restricted(spec), [])

    def test_a_policy_for_sidecars_closes_the_exporters_port_and_no_other(self):
        policy = one(template("helm4", CHART, "--set", "networkPolicy.enabled=true"), "NetworkPolicy")
        closed, open_to_all = policy["spec"]["ingress"]
        self.assertEqual([port["port"] for port in closed["ports"]], [10860])
        self.assertNotIn("from", open_to_all)
        for protocol in ("TCP", "UDP", "SCTP"):
            ranges = [(port["port"], port["endPort"]) for port in open_to_all["ports"] if port["protocol"] == protocol]
            admitted = {port for first, last in ranges for port in range(first, last + 1)}
            self.assertEqual(set(range(1, 65536)) - admitted, {10860} if protocol == "TCP" else set(), protocol)

    def test_the_flags_that_are_rendered_start_the_exporter(self):
        """`serve --help` lists every flag that the chart writes by itself."""
        program = binary()
        if program is None:
            self.skipTest("no build of the exporter")
        known = output(program, "serve", "--help")
        for helm, values in self.each():
            for spec in (spec for thing in template(helm, CHART, *values) for spec in pod_specs(thing)):
                for word in sidecar(spec)[0]["args"][1:]:
                    self.assertIn(word.split("=")[0], known)


class SchemaTest(unittest.TestCase):
    def test_bad_values_are_refused_by_name(self):
        bad = {
            "mode=daemon": "mode",
            "gpu.mode=rocm": "mode",
            "gpu.dcgm.url=node:9400": "url",
            "gpu.dra.template.count=0": "count",
            "image.digest=sha256:abc": "digest",
            "monitoring.interval=15": "interval",
            "monitoring.intervall=15s": "intervall",
            "monitoring.kind=prometheus": "kind",
            "monitoring.targetLabels.a-b=role": "a-b",
            "clusterWide=auto": "clusterWide",
            "prometheusRule.enabled=maybe": "enabled",
            "flags.dcgm-url=http://a": "dcgm-url",
            "flags.--tick=1s": "--tick",
            "replicas=2": "replicas",
            "networkPolicy.from=everyone": "from",
        }
        for helm in HELMS:
            for setting, name in bad.items():
                with self.subTest(helm=helm, setting=setting):
                    done = run(helm, "template", "test", CHART, "--set", setting)
                    self.assertNotEqual(done.returncode, 0)
                    self.assertIn(name, done.stderr)

    def test_values_that_do_not_fit_together_are_refused_with_a_remedy(self):
        bad = {
            ("mode=standalone", "gpu.mode=dra"): "use gpu.mode dcgm or none",
            ("mode=standalone",): "set gpu.dcgm.url",
            ("mode=standalone", "gpu.mode=none", "model.volume.name=models"): "model.volume.mountPath",
            ("monitoring.kind=gmp", "monitoring.namespaces={models}"): "set monitoring.namespaces to",
            ("monitoring.kind=gmp", "monitoring.relabelings[0].action=drop"): "use monitoring.targetLabels",
            ("monitoring.kind=servicemonitor", "monitoring.namespaces={models}"): "install the chart in each",
            ("mode=standalone", "gpu.mode=none", "monitoring.kind=servicemonitor", "standalone.service.enabled=false"): "set standalone.service.enabled",
            ("prometheusRule.enabled=true", "prometheusRule.disabled={NoSuchAlert}"): "there is no alert \"NoSuchAlert\"",
        }
        for helm in HELMS:
            for settings, words in bad.items():
                with self.subTest(helm=helm, settings=settings):
                    done = run(helm, "template", "test", CHART, *(word for setting in settings for word in ("--set", setting)))
                    self.assertNotEqual(done.returncode, 0)
                    self.assertIn(words, done.stderr)

    def test_every_value_is_in_the_schema(self):
        schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
        values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
        self.assertEqual(set(values), set(schema["properties"]) - {"global"})


class PackagedTest(unittest.TestCase):
    """Dashboards and rules have one source, which the package holds a copy of."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.packages = {}
        for helm in HELMS:
            folder = pathlib.Path(cls.folder.name, helm)
            output(helm, "package", CHART, "--destination", folder)
            (cls.packages[helm],) = folder.glob("*.tgz")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_the_package_holds_files_and_no_links(self):
        for package in self.packages.values():
            with tarfile.open(package) as archive:
                self.assertTrue(all(member.isfile() for member in archive))
                names = {member.name for member in archive}
            for path in DASHBOARDS:
                self.assertIn(f"{CHART.name}/files/dashboards/{path.name}", names)
            self.assertEqual({name for name in names if "/files/rules/" in name}, {f"{CHART.name}/files/rules/{path.name}" for path in RULES})

    def test_dashboards_are_the_source_word_for_word(self):
        self.assertTrue(DASHBOARDS)
        for helm, package in self.packages.items():
            maps = [thing for thing in of_kind(template(helm, package, "--set", "clusterWide=true"), "ConfigMap")]
            self.assertTrue(all(each["metadata"]["labels"]["grafana_dashboard"] == "1" for each in maps))
            held = {name: text for each in maps for name, text in each["data"].items()}
            self.assertEqual({name: json.loads(text) for name, text in held.items()}, {path.name: json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS})

    def test_rules_are_the_source(self):
        self.assertTrue(RULES)
        for helm, package in self.packages.items():
            held = [rule["spec"] for rule in of_kind(template(helm, package, *OPERATOR, "--set", "clusterWide=true"), "PrometheusRule")]
            source = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES]
            self.assertCountEqual(held, source)

    def test_alerts_change_by_name(self):
        changed, left_out = alerts()[:2]
        values = ["--set", "clusterWide=true", "--set", f"prometheusRule.overrides.{changed}.for=42m", "--set", f"prometheusRule.disabled={{{left_out}}}", "--set", "prometheusRule.alertLabels.team=serving"]
        for helm, package in self.packages.items():
            things = of_kind(template(helm, package, *OPERATOR, *values), "PrometheusRule")
            held = {rule["alert"]: rule for thing in things for group in thing["spec"]["groups"] for rule in group["rules"] if "alert" in rule}
            self.assertEqual(held[changed]["for"], "42m")
            self.assertNotIn(left_out, held)
            self.assertEqual(len(held), len(alerts()) - 1)
            for rule in held.values():
                self.assertEqual(rule["labels"]["team"], "serving")
                self.assertIn("severity", rule["labels"])


class LibraryTest(unittest.TestCase):
    """The library template, in the chart under examples."""

    def test_every_gpu_mode_gives_a_valid_restricted_sidecar(self):
        for helm in HELMS:
            for mode in ("dcgm", "nvml", "dra", "none"):
                with self.subTest(helm=helm, mode=mode):
                    things = own_chart(helm, f"gpu.mode={mode}", "gpu.name=H100")
                    for thing in things:
                        checker.check(thing)
                    spec = one(things, "Deployment")["spec"]["template"]["spec"]
                    container, place = sidecar(spec)
                    self.assertEqual((place, container["restartPolicy"]), ("initContainers", "Always"))
                    self.assertEqual(checker.restricted(spec), [])
                    self.assertNotIn("readinessProbe", container)
                    self.assertNotIn("startupProbe", container)

    def test_settings_reach_the_container(self):
        things = own_chart("helm4", "flags.max-num-seqs=256", "config.tick=2s", "vllm.apiKeySecret.name=key", "vllm.caSecret.name=ca", "model.config=text")
        for thing in things:
            checker.check(thing)
        spec = one(things, "Deployment")["spec"]["template"]["spec"]
        container, _ = sidecar(spec)
        self.assertIn("--max-num-seqs=256", container["args"])
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        self.assertEqual(mounted, {volume["name"] for volume in spec["volumes"]})
        held = one(things, "ConfigMap", "test-vllm-roofline-exporter-config")["data"]["config.yaml"]
        self.assertEqual(yaml.safe_load(held), {"tick": "2s"})

    def test_a_dcgm_sidecar_reads_its_own_pods_gpus_on_its_own_node(self):
        things = own_chart("helm4", "clusterWide=true")
        self.assertEqual(one(things, "Service")["spec"]["internalTrafficPolicy"], "Local")
        container, _ = sidecar(one(things, "Deployment")["spec"]["template"]["spec"])
        self.assertIn("--dcgm-pod=$(POD_NAMESPACE)/$(POD_NAME)", container["args"])
        # Kubernetes expands only what stands before.
        self.assertLessEqual({"POD_NAME", "POD_NAMESPACE"}, {each["name"] for each in container["env"]})

    def test_another_claim_is_another_template_and_the_pod_takes_it(self):
        names = []
        for count in (1, 2):
            things = own_chart("helm4", "gpu.mode=dra", f"gpu.dra.template.count={count}")
            made = one(things, "ResourceClaimTemplate")
            self.assertEqual(made["spec"]["spec"]["devices"]["requests"][0]["exactly"]["count"], count)
            (claim,) = one(things, "Deployment")["spec"]["template"]["spec"]["resourceClaims"]
            self.assertEqual(claim, {"name": "gpu", "resourceClaimTemplateName": made["metadata"]["name"]})
            names.append(made["metadata"]["name"])
        self.assertNotEqual(*names)

    def test_before_kubernetes_1_29_it_is_a_plain_container(self):
        things = own_chart("helm4", "sidecar.native=false")
        container, _ = sidecar(one(things, "Deployment")["spec"]["template"]["spec"])
        self.assertNotIn("restartPolicy", container)
