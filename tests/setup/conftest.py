"""What fetches from the network and takes minutes runs only when its marker is asked for: `./lab/test -m setup`."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `setup`, whatever else is chosen."""
    if "setup" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("setup")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
