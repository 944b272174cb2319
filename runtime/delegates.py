"""External delegates: shared libraries that run a model's ops on other hardware, such as an Edge TPU.

A delegate is loaded by name and asked which ops it takes. Where it cannot be had, refuses the model or takes nothing,
XNNPACK runs the model as ever, and :class:`DelegateUse` says why: an accelerator that is silently not used is the most
expensive kind.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from runtime.errors import InputError
from runtime.provider import provider
from runtime.values import value

_SYMBOLS = ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate")
_DELEGATE = "DELEGATE"


@value
class DelegateUse:
    """What became of an external delegate.

    Attributes:
        name: As it was asked for, such as ``libedgetpu.so.1``.
        ops: Positions of the ops it runs; empty where it is not used, or where the interpreter cannot tell.
        reason: Why it is not used; empty where it is.
    """

    name: str
    ops: tuple[int, ...] = ()
    reason: str = ""

    @property
    def used(self) -> bool:
        """Whether it runs any op."""
        return not self.reason

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"name": self.name, "used": self.used, "reason": self.reason, "ops": list(self.ops)}


class _UnusableError(Exception):
    """A delegate cannot be had; the text says why, in one line."""


def delegated(text: str, make: Callable[..., Any]) -> tuple[Any | None, DelegateUse]:
    """An interpreter with a delegate.

    Args:
        text: ``LIBRARY`` or ``LIBRARY:KEY=VALUE,KEY=VALUE``; a library without a slash is searched for by the system.
        make: Takes the interpreter's further arguments; makes one without memory for its tensors.

    Returns:
        The interpreter, ready to run, or ``None`` where the delegate is of no use; and what became of the delegate.

    Raises:
        InputError: The options are no ``KEY=VALUE`` pairs.
    """
    library, options = _split(text)
    try:
        delegate = _load(library, options)
        try:
            interpreter = make(experimental_delegates=[delegate])
            # Before memory is allocated, for then XNNPACK takes its share too.
            ops = _taken(interpreter)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _UnusableError(f"it refuses this model ({_line(error)})") from None
        if ops == ():
            raise _UnusableError("it takes no op of this model; was the model compiled for it?")
    except _UnusableError as error:
        return None, DelegateUse(library, reason=str(error))
    return interpreter, DelegateUse(library, ops or ())


def _split(text: str) -> tuple[str, dict[str, str]]:
    library, colon, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",")] if colon else []
    if not library or any(not key or not sign for key, sign, _ in pairs):
        raise InputError(
            f"delegate '{text}'",
            "expected LIBRARY or LIBRARY:KEY=VALUE,KEY=VALUE",
            "give --delegate such as libedgetpu.so.1:device=usb",
        )
    return library, {key: option for key, _, option in pairs}


def _load(library: str, options: dict[str, str]) -> Any:
    # Where one of these two fails, the interpreters' own loader ends with a traceback from a destructor.
    try:
        handle = ctypes.CDLL(library)
    except OSError as error:
        raise _UnusableError(f"the library cannot be loaded ({_line(error)})") from None
    if missing := [symbol for symbol in _SYMBOLS if not hasattr(handle, symbol)]:
        raise _UnusableError(f"the library is no TensorFlow Lite delegate (it has no {missing[0]})")
    try:
        return provider().load_delegate(library, options)
    except (ValueError, RuntimeError) as error:
        said = _line(error).removeprefix(f"Failed to load delegate from {library}").strip()
        raise _UnusableError(f"it cannot start ({said or 'it does not say why; is the device plugged in?'})") from None


def _taken(interpreter: Any) -> tuple[int, ...] | None:
    """Positions of the ops delegates have taken so far; ``None`` where the interpreter does not list its ops."""
    if not hasattr(interpreter, "_get_ops_details"):
        return None
    from runtime.ops import executed_nodes

    nodes = interpreter._get_ops_details()
    executed = {node["index"] for node in executed_nodes(interpreter, nodes)}
    return tuple(node["index"] for node in nodes if node["op_name"] != _DELEGATE and node["index"] not in executed)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
