"""Bytes of certificates, as the checker reads them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from specdsl.proof.boxes import Tree
from specdsl.proof.container import LENGTH_BYTES, MAGIC, canonical, digest


def write_container(header: Mapping[str, Any], sections: Mapping[str, bytes]) -> bytes:
    """The file's bytes; `header` without the list of sections."""
    listed: list[dict[str, object]] = []
    stored: list[bytes] = []
    for name, content in sections.items():
        packed = zlib.compress(content, 6)
        own: dict[str, object] = {"name": name, "bytes": len(content), "stored": len(packed)}
        listed.append(own | {"sha256": digest(content)})
        stored.append(packed)
    text = canonical({**header, "sections": listed})
    return b"".join([MAGIC, len(text).to_bytes(LENGTH_BYTES, "little"), text, *stored])


def write_tree(tree: Tree) -> bytes:
    """A tree of boxes."""
    return b"".join(
        [
            len(tree.kinds).to_bytes(8, "little"),
            tree.kinds.astype(np.uint8).tobytes(),
            tree.inputs.astype("<u4").tobytes(),
            tree.points.astype("<f8").tobytes(),
            tree.weights.astype("<f4").tobytes(),
        ]
    )
