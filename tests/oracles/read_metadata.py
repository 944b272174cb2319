"""TFLite metadata as MediaPipe's published schema reads it; run by the oracle environment's Python.

Usage: read_metadata.py MODEL.tflite
Prints one JSON object. Only the generated schema modules of MediaPipe are loaded, by path: the package itself wants
much that is not needed here.
"""

import importlib.util
import json
import sys
import sysconfig
from pathlib import Path


def load(name):
    path = Path(sysconfig.get_paths()["purelib"]) / "mediapipe" / "tasks" / "metadata" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def tensor(metadata):
    units = metadata.processUnits or []
    content = metadata.content.contentProperties
    return {
        "name": text(metadata.name),
        "description": text(metadata.description),
        "content": type(content).__name__,
        "color_space": getattr(content, "colorSpace", None),
        "normalization": [[list(map(float, u.options.mean)), list(map(float, u.options.std))] for u in units],
        "range": [list(map(float, metadata.stats.min)), list(map(float, metadata.stats.max))]
        if metadata.stats
        else None,
    }


def main(path):
    schema, metadata_schema = load("schema_py_generated"), load("metadata_schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(Path(path).read_bytes(), 0))
    entry = next(entry for entry in model.metadata if entry.name == b"TFLITE_METADATA")
    data = bytes(model.buffers[entry.buffer].data)
    root = metadata_schema.ModelMetadataT.InitFromObj(metadata_schema.ModelMetadata.GetRootAs(data, 0))
    subgraph = root.subgraphMetadata[0]
    files = [*(root.associatedFiles or []), *(subgraph.associatedFiles or [])]
    facts = {
        "identifier": metadata_schema.ModelMetadata.ModelMetadataBufferHasIdentifier(data, 0),
        "name": text(root.name),
        "license": text(root.license),
        "min_parser_version": text(root.minParserVersion),
        "files": [[text(file.name), file.type] for file in files],
        "inputs": [tensor(item) for item in subgraph.inputTensorMetadata],
        "outputs": [tensor(item) for item in subgraph.outputTensorMetadata],
        "tensors": [text(model.subgraphs[0].tensors[i].name) for i in model.subgraphs[0].outputs],
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1])
