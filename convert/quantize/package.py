"""A converter's bare ``.tflite`` to a model file: tensor names, metadata, card, labels."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from convert.quantize.metadata import LABELS_FILE, metadata_buffer
from runtime.card import CARD_FILE, ModelCard, Network

_IDENTIFIER = b"TFL3"
_METADATA_NAME = b"TFLITE_METADATA"
# Equal inputs give equal files: zip entries carry a date, so it is a fixed one (the earliest zip knows).
_EPOCH = (1980, 1, 1, 0, 0, 0)


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Keeps byte vectors on 16-byte borders.

    The schema asks for it (``force_align: 16`` on weight buffers), but the generated Python does not; kernels on ARM
    read the weights in place.
    """

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def read_flatbuffer(data: bytes) -> Any:
    """The file's object tree (``ModelT``)."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def rename_tensors(data: bytes, names: Mapping[str, str]) -> bytes:
    """Gives input and output tensors the names the card uses.

    Args:
        data: A ``.tflite`` with one signature.
        names: Wanted tensor name by the signature's input or output name.

    Returns:
        The rewritten file.
    """
    model = read_flatbuffer(data)
    for signature in model.signatureDefs:
        for entry in [*signature.inputs, *signature.outputs]:
            name = names[entry.name.decode()].encode()
            model.subgraphs[signature.subgraphIndex].tensors[entry.tensorIndex].name = name
            entry.name = name
    return serialise(model)


def pack(data: bytes, card: ModelCard) -> bytes:
    """The finished model file: flatbuffer with metadata, then the zip archive with card and labels.

    Args:
        data: What :func:`rename_tensors` returned.
        card: The card; ``network`` is filled in here.
    """
    model = read_flatbuffer(data)
    subgraph = model.subgraphs[0]
    outputs = [subgraph.tensors[index].name.decode() for index in subgraph.outputs]
    low = [0 * scale + offset for scale, offset in zip(card.input.scale, card.input.offset, strict=True)]
    high = [255 * scale + offset for scale, offset in zip(card.input.scale, card.input.offset, strict=True)]
    metadata = metadata_buffer(card, outputs, (min(low + high), max(low + high)))

    model.description = f"{card.name} (Edgewren)".encode()
    entries = [entry for entry in model.metadata or [] if entry.name != _METADATA_NAME]
    model.buffers.append(_buffer(metadata))
    entries.append(_metadata_entry(len(model.buffers) - 1))
    model.metadata = entries

    network = serialise(model)
    card = dataclasses.replace(card, network=Network(len(network), hashlib.sha256(network).hexdigest()))
    stream = io.BytesIO(network)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, _EPOCH), "\n".join(card.labels.names) + "\n")
        archive.writestr(zipfile.ZipInfo(CARD_FILE, _EPOCH), card.to_json())
    return stream.getvalue()


def _buffer(data: bytes) -> Any:
    buffer = schema.BufferT()
    buffer.data = list(data)
    return buffer


def _metadata_entry(buffer: int) -> Any:
    entry = schema.MetadataT()
    entry.name = _METADATA_NAME
    entry.buffer = buffer
    return entry


def serialise(model: Any) -> bytes:
    """The file of an object tree (``ModelT``)."""
    builder = _AlignedBuilder(1 << 20)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())
