"""The names of sources and sinks: help texts, error lines, and the suffixes that tell kinds of files apart."""

INPUTS = (
    "0 or v4l2:///dev/video0 (camera), csi://0 (ribbon cable), rtsp:// or http:// (stream), "
    "synthetic://cards (made scenes), a video, an image, or a folder of images"
)
OUTPUTS = "json://- or json://FILE, FILE.mp4, FILE.jpg (one picture, or a contact sheet), or a folder for pictures"
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv"})
