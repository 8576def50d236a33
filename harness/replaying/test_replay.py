"""Stage the plan of a history again: same actors, same steps, same times, same seed."""

import pytest

from harness.errors import UsageError
from harness.history.container import from_bytes
from harness.model.limits import HISTORY_FILE
from harness.outside import read_file
from harness.plugin.staging import Stage


def test_replay(request: pytest.FixtureRequest, stage: Stage) -> None:
    """The verdict is today's; the plan is the history's."""
    path = request.config.option.hil_replay
    if path is None:
        raise UsageError("replaying", said="no history was named", hint="Use `harness replay HISTORY`.")
    stage.plan(from_bytes(read_file(path, HISTORY_FILE, what="history")).plan)
