"""Room for one item between two threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """Room for one item between two threads.

    Args:
        discard: Called with every item that is dropped or comes too late, for what it holds.

    Attributes:
        dropped: Items that were replaced before anybody took them.
    """

    def __init__(self, discard: Callable[[T], None] | None = None) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self._discard = discard
        self.dropped = 0

    def put(self, item: T, *, replace: bool) -> bool:
        """Leaves an item for the other side.

        Args:
            item: The item.
            replace: Whether to drop an item that still lies there; otherwise wait until it is taken.

        Returns:
            False when the slot was closed and the item is lost.
        """
        with self._condition:
            if replace and self._item is not None:
                self.dropped += 1
                self._lose(self._item)
                self._item = None
            self._condition.wait_for(lambda: self._item is None or self._closed)
            if self._closed:
                self._lose(item)
                return False
            self._item = item
            self._condition.notify_all()
            return True

    def take(self, timeout: float | None = None) -> T | None:
        """Waits for an item; ``None`` once the slot is closed and empty.

        Args:
            timeout: Most seconds to wait; by default for ever.

        Raises:
            TimeoutError: Nothing came by then.
        """
        with self._condition:
            if not self._condition.wait_for(lambda: self._item is not None or self._closed, timeout):
                raise TimeoutError
            item, self._item = self._item, None
            self._condition.notify_all()
            return item

    def close(self) -> None:
        """No more items: wakes both sides. An item that lies there can still be taken."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _lose(self, item: T) -> None:
        if self._discard:
            self._discard(item)
