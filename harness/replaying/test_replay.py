"""Stage the plan of a history again: same actors, same steps, same times, same seed."""

import pytest

from harness.errors import UsageError
from harness.history.container import from_bytes
from harness.plugin.staging import Stage


def test_replay(request: pytest.FixtureRequest, stage: Stage) -> None:
    """The verdict is today's; the plan is the history's."""
    path = request.config.option.hil_replay
    if path is None:
        raise UsageError("replaying", said="no history was named", hint="Use `harness replay HISTORY`.")
    try:
        history = from_bytes(path.read_bytes())
    except OSError as error:
        raise UsageError(f"history {path}", said=error.strerror or str(error)) from error
    stage.plan(history.plan)
