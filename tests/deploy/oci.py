"""Writes an OCI image layout out of root file systems, as the Dockerfile's last stage says: oci.py LAYOUT ARCH=BASE:PROGRAM…

Two layers an architecture, the base and the program; the same input gives the same digests. `skopeo copy oci:LAYOUT …` and
`podman load` take it."""
import gzip
import hashlib
import io
import json
import pathlib
import re
import sys
import tarfile

DOCKERFILE = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "docker" / "Dockerfile"
PROGRAM = "usr/bin/vllm-roofline-exporter"
TYPES = {kind: f"application/vnd.oci.image.{kind}.v1+json" for kind in ("config", "manifest", "index")} | {"layer": "application/vnd.oci.image.layer.v1.tar+gzip"}


def instructions():
    """What the last stage of the Dockerfile sets: user, entry point, command, port."""
    stage = DOCKERFILE.read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    value = lambda name: re.search(rf"^{name} (.*)$", stage, re.MULTILINE)[1]
    return {"User": value("USER"), "Entrypoint": json.loads(value("ENTRYPOINT")), "Cmd": json.loads(value("CMD")), "ExposedPorts": {f"{value('EXPOSE')}/tcp": {}}}


def archive(paths, root):
    """A tar of paths below root, owned by root and without times."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in paths:
            member = tar.gettarinfo(path, arcname=str(path.relative_to(root)))
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            if member.isfile():
                with open(path, "rb") as file:
                    tar.addfile(member, file)
            else:
                tar.addfile(member)
    return held.getvalue()


class Layout:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        (self.path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")

    def blob(self, kind, content, **more):
        """Writes a blob and describes it."""
        content = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()
        (self.path / "blobs" / "sha256" / digest).write_bytes(content)
        return {"mediaType": TYPES[kind], "digest": f"sha256:{digest}", "size": len(content), **more}

    def image(self, arch, base, program):
        """One architecture's image; returns its description and the sizes of its layers."""
        base = pathlib.Path(base)
        program = pathlib.Path(program)
        tars = [archive([path for path in sorted(base.rglob("*")) if str(path.relative_to(base)) != PROGRAM], base)]
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w", format=tarfile.GNU_FORMAT) as tar:
            member = tarfile.TarInfo(PROGRAM)
            member.size, member.mode = program.stat().st_size, 0o755
            with open(program, "rb") as file:
                tar.addfile(member, file)
        tars.append(held.getvalue())
        layers = [self.blob("layer", gzip.compress(tar, mtime=0)) for tar in tars]
        digests = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]
        config = {"architecture": arch, "os": "linux", "config": instructions(), "rootfs": {"type": "layers", "diff_ids": digests}}
        manifest = {"schemaVersion": 2, "mediaType": TYPES["manifest"], "config": self.blob("config", config), "layers": layers}
        return self.blob("manifest", manifest, platform={"architecture": arch, "os": "linux"}), [(len(tar), layer["size"]) for tar, layer in zip(tars, layers, strict=True)]

    def index(self, manifests):
        index = {"schemaVersion": 2, "mediaType": TYPES["index"], "manifests": manifests}
        (self.path / "index.json").write_text(json.dumps(index, sort_keys=True), encoding="utf-8")


def main(path, *images):
    layout = Layout(path)
    manifests = []
    for image in images:
        arch, _, rest = image.partition("=")
        manifest, sizes = layout.image(arch, *rest.split(":"))
        manifests.append(manifest)
        (base, base_sent), (program, program_sent) = sizes
        disk = f"{(base + program) / 1e6:.1f} MB on disk (program {program / 1e6:.1f})"
        pull = f"{(base_sent + program_sent) / 1e6:.1f} MB to pull (program {program_sent / 1e6:.1f})"
        print(f"{arch}: {disk}, {pull}, {manifest['digest']}")
    layout.index(manifests)


if __name__ == "__main__":
    main(*sys.argv[1:])
