"""A copy of a file that ends in ``TFLite_Detection_PostProcess``, with the metadata MediaPipe Tasks insists on.

Usage, with the Python of an environment that has mediapipe: python give_metadata.py MODEL LABELS OUT.tflite

LABELS has one name per line, the background's not among them. The wheel leaves out the compiled part that works out the
parser's version; a fixed one takes its place.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

_MISSING = "mediapipe.tasks.cc.metadata.python._pywrap_metadata_version"


def main() -> None:
    """Writes the copy."""
    model, labels, out = map(Path, sys.argv[1:])
    parts = _MISSING.split(".")
    for end in range(3, len(parts) + 1):
        name = ".".join(parts[:end])
        sys.modules[name] = ModuleType(name)
    sys.modules[_MISSING].GetMinimumMetadataParserVersion = lambda _: "1.5.0"
    setattr(sys.modules[".".join(parts[:-1])], parts[-1], sys.modules[_MISSING])
    home = "mediapipe.tasks.python.metadata.metadata_writers."
    detector = importlib.import_module(home + "object_detector")
    writing = importlib.import_module(home + "metadata_writer")
    writer = detector.MetadataWriter.create_for_models_with_nms(
        bytearray(model.read_bytes()), [127.5], [127.5], writing.Labels().add(labels.read_text().splitlines())
    )
    out.write_bytes(writer.populate()[0])


if __name__ == "__main__":
    main()
