"""The tests. ``runtime`` comes before OpenCV here as it does in the programs: it sets OpenCV's log level."""

import runtime as runtime
