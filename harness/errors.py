"""Every exception of the harness.  A misbehaving device is data, never an exception.

An exception means that the harness could not do its job; a report shows it as an *error* (no verdict),
never as a *failure* of the function under test::

    HarnessError                 root; `str()` is one line: what was tried, what was answered, what to do next
    ├── UsageError               the caller's mistake: width 3, unknown reset method, offset beyond config space
    ├── LabError                 the place to test in cannot be provided
    │   ├── SetupError           a part is missing or could not be fetched, unpacked or built
    │   ├── GuestError           the guest did not come up, died, or answers no more
    │   │   └── EmulatorLost     its QEMU ended without the guest's doing
    │   └── ClockError           guest clock and host clock disagree: nothing timed can be believed
    ├── TargetError              the agent, or the way to it, failed
    │   ├── KernelRefusal        the kernel said no to something the harness itself needs (errno kept)
    │   └── AgentLost            the agent answers no more
    ├── AgentError               the agent raised what nobody expected: a mistake in it
    ├── ModelError               a device model in Python raised, did not return, or ended: a mistake in it
    ├── StagingError             the plan could not be staged as written
    ├── ContractError            a contract file is malformed or has no entry where one is needed
    └── HistoryError             evidence is malformed, or of a version that this harness cannot read
"""

from __future__ import annotations

import errno as errno_names
import os
from typing import ClassVar

from harness.visible import visible


class HarnessError(Exception):
    """Root of the tree.  `kind` is the `type=` of its JUnit element."""

    kind: ClassVar[str] = "hil.harness"

    def __init__(self, tried: str, *, said: str = "", hint: str = "", evidence: str = "") -> None:
        """Build the one-line message from its parts.

        Args:
            tried: what was attempted, and on what (a BDF, a path, a command).
            said: what the kernel, QEMU or the tool answered.
            hint: what the user can do next.
            evidence: longer text (console tail, command line); never part of `str()`, and as it was found.
        """
        self.tried, self.said, self.hint, self.evidence = tried, said, hint, evidence
        message = tried + (f": {said}" if said else "") + (f".  {hint}" if hint else "")
        super().__init__(visible(" ".join(message.split())))


class UsageError(HarnessError):
    """The caller asked for something that cannot be meant: exit status 2."""

    kind = "hil.usage"


class LabError(HarnessError):
    """The place to test in cannot be provided."""

    kind = "hil.infra.lab"


class SetupError(LabError):
    """A part of the lab is missing, or could not be fetched, unpacked or built."""

    kind = "hil.infra.setup"


class GuestError(LabError):
    """The guest did not come up, died, or answers no more."""

    kind = "hil.infra.guest"


class EmulatorLost(GuestError):
    """The QEMU of a guest ended without the guest's doing."""

    kind = "hil.infra.qemu"


class ClockError(LabError):
    """Guest clock and host clock disagree beyond the bound."""

    kind = "hil.infra.clock"


class TargetError(HarnessError):
    """The agent, or the way to it, failed."""

    kind = "hil.infra.target"


class KernelRefusal(TargetError):
    """The kernel refused something that the harness needs for itself.

    Attributes:
        errno: the positive errno, 0 when the kernel gave none.
    """

    kind = "hil.infra.kernel"

    def __init__(self, tried: str, *, errno: int, hint: str = "") -> None:
        name = errno_names.errorcode.get(errno, str(errno))
        super().__init__(tried, said=f"{name} ({os.strerror(errno)})" if errno else "", hint=hint)
        self.errno = errno


class AgentLost(TargetError):
    """The agent answers no more."""

    kind = "hil.infra.agent"


class AgentError(HarnessError):
    """The agent raised what nobody expected: a mistake in it, which comes again as it was."""

    kind = "hil.agent"


class ModelError(HarnessError):
    """A device model in Python raised, did not return, or ended: a mistake in it, which comes again as it was."""

    kind = "hil.model"


class StagingError(HarnessError):
    """The plan could not be staged as written."""

    kind = "hil.infra.staging"


class ContractError(HarnessError):
    """A contract file is malformed, or has no entry where one is needed."""

    kind = "hil.contract"


class HistoryError(HarnessError):
    """Evidence is malformed, or of a version that this harness cannot read."""

    kind = "hil.history"
