"""An image as one tar archive, which is an OCI layout and a docker-archive at once.

`docker load`, `podman load`, `ctr images import`, `skopeo copy oci-archive:` and `docker-archive:`
all read it.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timezone

from layer import Entry, archive, directory, file

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Image:
    """What makes an image; equal values make equal bytes."""

    name: str
    layers: list[list[Entry]]
    entrypoint: list[str]
    architecture: str
    command: list[str] = field(default_factory=list)
    user: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    created: int = 0


def build(image: Image) -> tuple[bytes, str]:
    """The archive, and the digest of the image's manifest."""
    layers = [archive(entries, image.created) for entries in image.layers]
    config = _json(_config(image, layers))
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _described(config, CONFIG),
            "layers": [_described(layer, LAYER) for layer in layers],
        }
    )
    blobs = [*layers, config, manifest]
    entries = [file(_path(blob), blob) for blob in blobs]
    entries += [
        directory("blobs/sha256"),
        file("oci-layout", _json({"imageLayoutVersion": "1.0.0"})),
        file("index.json", _json(_index(image, manifest))),
        file("manifest.json", _json(_docker_manifest(image, config, layers))),
    ]
    return archive(entries, image.created), f"sha256:{_sum(manifest)}"


def _config(image: Image, layers: list[bytes]) -> dict:
    created = datetime.fromtimestamp(image.created, timezone.utc)
    return {
        "architecture": image.architecture,
        "os": "linux",
        "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "config": {
            "User": image.user,
            "Entrypoint": image.entrypoint,
            "Cmd": image.command,
            "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
            "Labels": image.labels,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_sum(layer)}" for layer in layers]},
    }


def _index(image: Image, manifest: bytes) -> dict:
    described = _described(manifest, MANIFEST)
    described["annotations"] = {
        "io.containerd.image.name": qualified(image.name),
        "org.opencontainers.image.ref.name": image.name.rpartition(":")[2],
    }
    described["platform"] = {"architecture": image.architecture, "os": "linux"}
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]}


def _docker_manifest(image: Image, config: bytes, layers: list[bytes]) -> list[dict]:
    return [
        {
            "Config": _path(config),
            "RepoTags": [image.name],
            "Layers": [_path(layer) for layer in layers],
        }
    ]


def qualified(name: str) -> str:
    """The name with the registry and folder that engines take where none is said."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _described(blob: bytes, kind: str) -> dict:
    return {"mediaType": kind, "digest": f"sha256:{_sum(blob)}", "size": len(blob)}


def _path(blob: bytes) -> str:
    return f"blobs/sha256/{_sum(blob)}"


def _sum(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
