#!/usr/bin/env python3
"""Makes an OCI image of an agent without a container engine: an image layout, as a folder or a tar file.

    packaging/image.py host --binary target/release/peer --out image        # a folder: oci:image for skopeo, podman, buildah
    packaging/image.py seeder --binary target/release/seeder --out image.tar

In it are the program, the libraries that `ldd` names, the CA certificates of this machine, and what names the user. There is no shell, and
nobody in it is root. The libraries are glibc's: that is what the program is built and tested with here, and no other target of the
compiler is needed. Hooks are commands for a shell, so an agent with hooks wants an image of its own made from this one.

Two runs over the same files give the same digest, which is printed: files are in the order of their names, with the time of
SOURCE_DATE_EPOCH (1970 where that is not set), and nothing of this machine but these files goes in. Python 3.8 or newer, its standard library, and ldd.
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

# Of nobody on the machine that runs it, and the one that other images without root have.
USER = 65532
MEDIA = "application/vnd.oci.image"
CERTIFICATES = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"]
# Machine of an ELF file, at offset 18.
MACHINES = {62: "amd64", 183: "arm64"}
# The machines of ELF by the names that Linux has for them.
OURS = {"x86_64": 62, "aarch64": 183}
# Kind of a program header that names a loader.
PT_INTERP = 3


def fail(message):
    print(f"image.py: {message}", file=sys.stderr)
    sys.exit(2)


def read(path, what):
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        fail(f"{path}: {what} cannot be read: {error.strerror}")


def architecture(binary, content):
    # Of 64 bits, little end first.
    if content[:6] != b"\x7fELF\x02\x01" or len(content) < 64:
        fail(f"{binary} is no program of Linux; expected what `cargo build --release` has made")
    machine = int.from_bytes(content[18:20], "little")
    if machine not in MACHINES:
        fail(f"{binary} is for machine {machine} of ELF; expected x86-64 or arm64")
    return MACHINES[machine]


def has_loader(content):
    """Whether a program of 64 bits names a loader, so that it is started with libraries."""
    start, size, count = (int.from_bytes(content[at:end], "little") for at, end in [(32, 40), (54, 56), (56, 58)])
    kinds = [content[start + size * at : start + size * at + 4] for at in range(count)]
    return any(int.from_bytes(kind, "little") == PT_INTERP for kind in kinds)


def libraries(binary, content):
    """Where the libraries are that the program is started with, its loader among them. None for a static one."""
    if not has_loader(content):
        return []
    # `ldd` has the libraries of this machine, and calls a program of another one "not a dynamic executable".
    here = platform.machine()
    if int.from_bytes(content[18:20], "little") != OURS.get(here):
        wants = architecture(binary, content)
        fail(f"{binary} is for {wants} and wants libraries, which this machine ({here}) has not; make its image on one that has")
    try:
        listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        fail("ldd is missing; it is part of glibc")
    said = listed.stdout + listed.stderr
    missing = re.findall(r"^\s*(\S+) => not found", said, re.MULTILINE)
    found = sorted(set(re.findall(r"(/\S+) \(0x", said)))
    if listed.returncode != 0 or missing or not found:
        fail(f"{binary}: ldd does not find {', '.join(missing) or 'its libraries: ' + said.strip()}")
    return found


def stripped(binary):
    """The program without what debuggers want, where strip is installed."""
    with tempfile.TemporaryDirectory() as folder:
        # A file of its own: strip replaces what it writes to, a device of the machine too.
        out = pathlib.Path(folder, "program")
        try:
            subprocess.run(["strip", "-o", out, binary], capture_output=True, check=True)
            content = out.read_bytes()
        except (OSError, subprocess.CalledProcessError):
            return None
    return content if content[:4] == b"\x7fELF" else None


class Layer:
    """Files and folders by their path, each once."""

    def __init__(self, time):
        self.entries = {}
        self.time = time

    def folder(self, path, mode=0o755, owner=0):
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.folder(parent)
        info = tarfile.TarInfo(path)
        info.type, info.mode = tarfile.DIRTYPE, mode
        self._add(info, None, owner)

    def file(self, path, content, mode=0o644):
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.folder(parent)
        info = tarfile.TarInfo(path)
        info.mode, info.size = mode, len(content)
        self._add(info, content, 0)

    def _add(self, info, content, owner):
        info.mtime, info.uid, info.gid = self.time, owner, owner
        self.entries[info.name] = (info, content)

    def tar(self):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(self.entries):
                info, content = self.entries[name]
                tar.addfile(info, None if content is None else io.BytesIO(content))
        return buffer.getvalue()


def layer_of(agent, arguments, content, time):
    layer = Layer(time)
    name = f"fleetcast-{agent}"
    layer.file(f"usr/bin/{name}", content, 0o755)
    for library in libraries(arguments.binary, content):
        layer.file(library.lstrip("/"), read(library, "the library"), 0o755)
    bundle = arguments.certificates or next((path for path in CERTIFICATES if os.path.exists(path)), None)
    if bundle is None:
        fail("this machine has no CA certificates; install ca-certificates, or name them by --certificates")
    layer.file("etc/ssl/certs/ca-certificates.crt", read(bundle, "the list of CA certificates"))
    home = "/var/lib/fleetcast"
    layer.file("etc/passwd", f"fleetcast:x:{USER}:{USER}:Fleetcast:{home}:/nonexistent\n".encode())
    layer.file("etc/group", f"fleetcast:x:{USER}:\n".encode())
    layer.file("etc/nsswitch.conf", b"hosts: files dns\n")
    config = pathlib.Path(__file__).with_name(f"{agent}.toml")
    layer.file(f"etc/fleetcast/{agent}.toml", read(config, "the configuration"))
    # Where the configuration has their sockets: packaging/host.toml, packaging/seeder.toml.
    socket_folder = "run/fleetcast" if agent == "host" else "run/fleetcast-seeder"
    for folder in ["var/lib/fleetcast", socket_folder]:
        layer.folder(folder, 0o755, USER)
    layer.folder("tmp", 0o1777)
    return layer


def blob(blobs, content):
    digest = hashlib.sha256(content).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = content
    return f"sha256:{digest}"


def as_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def image(agent, arguments):
    """The files of the layout, and the digest of the manifest."""
    content = read(arguments.binary, "the program")
    built_for = architecture(arguments.binary, content)
    content = stripped(arguments.binary) or content
    time = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    created = datetime.datetime.fromtimestamp(time, datetime.timezone.utc)
    plain = layer_of(agent, arguments, content, time).tar()
    packed = gzip.compress(plain, compresslevel=arguments.level, mtime=0)
    blobs = {}
    layer = blob(blobs, packed)
    config = {
        "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "architecture": built_for,
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Entrypoint": [f"/usr/bin/fleetcast-{agent}"],
            "Env": ["PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
            "ExposedPorts": {"4001/tcp": {}},
            "Labels": {"org.opencontainers.image.title": f"fleetcast-{agent}"},
            "StopSignal": "SIGTERM",
            "WorkingDir": "/var/lib/fleetcast",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
        "history": [{"created": created.strftime("%Y-%m-%dT%H:%M:%SZ"), "created_by": "packaging/image.py"}],
    }
    config = as_json(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": {"mediaType": f"{MEDIA}.config.v1+json", "digest": blob(blobs, config), "size": len(config)},
        "layers": [{"mediaType": f"{MEDIA}.layer.v1.tar+gzip", "digest": layer, "size": len(packed)}],
    }
    manifest = as_json(manifest)
    digest = blob(blobs, manifest)
    described = {
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "digest": digest,
        "size": len(manifest),
        "platform": {"architecture": built_for, "os": "linux"},
        "annotations": {"org.opencontainers.image.ref.name": arguments.tag},
    }
    index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": [described]}
    blobs["index.json"] = as_json(index)
    blobs["oci-layout"] = as_json({"imageLayoutVersion": "1.0.0"})
    return blobs, digest, len(packed)


def write(blobs, out):
    """As a whole or not at all: a folder that stands there is not written into."""
    out = pathlib.Path(out)
    if out.exists():
        fail(f"{out} is there already; remove it, or name another one")
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        if out.suffix == ".tar":
            layer = Layer(0)
            for path, content in blobs.items():
                layer.file(path, content)
            beside.write_bytes(layer.tar())
        else:
            for path, content in blobs.items():
                file = beside / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        beside.rename(out)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        beside.unlink(missing_ok=True)
        fail(f"{out} cannot be written: {error.strerror}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("agent", choices=["host", "seeder"])
    parser.add_argument("--binary", required=True, help="the program, as cargo has built it")
    parser.add_argument("--out", required=True, help="a folder, or a file that ends with .tar")
    parser.add_argument("--tag", default="latest", help="what the image is called in its layout")
    parser.add_argument("--certificates", help="CA certificates in PEM; those of this machine where absent")
    parser.add_argument("--level", type=int, default=9, choices=range(1, 10), metavar="1-9", help="of compression")
    arguments = parser.parse_args()
    blobs, digest, size = image(arguments.agent, arguments)
    write(blobs, arguments.out)
    print(f"{digest} {size}")


if __name__ == "__main__":
    main()
