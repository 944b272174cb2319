"""What stands in a report; plain data, written as ``report.json`` by ``runtime.schema.encode``."""

from __future__ import annotations

from dataclasses import dataclass, field

from convert.debug.model import Finding, TensorError
from convert.quantize.calibration_check import CalibrationReport


@dataclass(frozen=True)
class NetworkFigures:
    """Accuracy of one network in percent; ``None`` where there is no object to find."""

    name: str
    map50: float | None
    map75: float | None
    map50_95: float | None


@dataclass(frozen=True)
class Change:
    """One figure of int8 beside float, with its 95 % interval (paired bootstrap over the pictures).

    Attributes:
        name: What it is.
        value: In percent or points.
        low: Lower end of the interval; ``None`` where there is none.
        high: Upper end.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class RepairStep:
    """One way to convert the network that was tried, for the table of what accuracy costs.

    Attributes:
        name: What was done.
        map50: AP50 in percent; ``None`` where nothing was annotated.
        drop: Points of AP50 below the float network; likewise.
        agreement: F1 with the float network's detections, in percent.
        bytes: Of the file.
        ms: Per inference, one thread of the machine that converted; ``None`` where it was not timed.
    """

    name: str
    map50: float | None
    drop: float | None
    agreement: float
    bytes: int
    ms: float | None = None


@dataclass(frozen=True)
class SamplePair:
    """One picture with what float and int8 find in it.

    Attributes:
        picture: File name.
        agreed: Objects both find.
        float_only: Objects only the float network finds.
        int8_only: Objects only int8 finds.
        float_jpeg: The picture with the float network's boxes, as a ``data:`` URI; empty in ``report.json``.
        int8_jpeg: The same with int8's.
    """

    picture: str
    agreed: int
    float_only: int
    int8_only: int
    float_jpeg: str = ""
    int8_jpeg: str = ""


@dataclass(frozen=True)
class TensorHistogram:
    """Float values of one tensor, and the range int8 has for them.

    Attributes:
        tensor: Its name.
        range: Lowest and highest number that int8 can hold.
        edges: Lowest and highest number of the histogram; its bins are of equal width.
        counts: Values in each bin.
    """

    tensor: str
    range: tuple[float, float]
    edges: tuple[float, float]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ReportData:
    """All of a report; whatever was not measured is empty.

    Attributes:
        name: Of the model.
        method: How it was quantised.
        data: Name of the pictures it was measured on.
        images: How many.
        accuracy: Float, then int8.
        changes: Differences and agreement with their intervals.
        samples: Pictures with most disagreement, and some with none.
        findings: What is wrong with the model as a whole.
        tensors: Its int8 tensors in order of execution.
        histograms: Of those that bring most noise.
        calibration: The calibration pictures.
        repair: What was tried to meet a budget.
        bytes: Of the file; 0 where there is none.
        macs: Multiply-accumulates of one inference; 0 where not known.
        delegated: Ops XNNPACK runs.
        ops: All ops.
        partitions: Pieces XNNPACK runs them in.
        settings: How figures were measured, name to text.
        tools: Versions.
    """

    name: str
    method: str = ""
    data: str = ""
    images: int = 0
    accuracy: tuple[NetworkFigures, ...] = ()
    changes: tuple[Change, ...] = ()
    samples: tuple[SamplePair, ...] = ()
    findings: tuple[Finding, ...] = ()
    tensors: tuple[TensorError, ...] = ()
    histograms: tuple[TensorHistogram, ...] = ()
    calibration: CalibrationReport | None = None
    repair: tuple[RepairStep, ...] = ()
    bytes: int = 0
    macs: int = 0
    delegated: int = 0
    ops: int = 0
    partitions: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
