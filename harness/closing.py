"""Whoever owns something gives it back at the end of a `with`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """Closes itself at the end of a `with`, whatever was raised in it."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; a second time does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
