"""The models by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lab.models.endpoint import endpoint
from lab.models.function import Function

MODELS: Final[Mapping[str, Callable[[Callable[[], int]], Function]]] = {"endpoint": endpoint}
