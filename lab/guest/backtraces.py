"""What a kernel's last words on its console say: why it panicked, where each processor was, which tasks are stuck.

Pure: text in, values out.  Refuses to guess: a text that it does not know gives nothing.

Sources, as Linux 6.1 to 7.3 write them: panic() for the reason, nmi_cpu_backtrace() for processors,
sched_show_task() for tasks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LAST_WORDS: Final = re.compile(r"^.*\b(?:reboot: |sysrq: (?:Resetting|Power Off)).*$", re.MULTILINE)
_REASON: Final = re.compile(r"Kernel panic - not syncing: (.*)")
_PROCESSOR: Final = re.compile(r"NMI backtrace for cpu (\d+)\b(.*?)(?=NMI backtrace for cpu |\Z)", re.DOTALL)
_IN_KERNEL: Final = re.compile(r"RIP: 0010:(\S+?)\+0x\S+( \[\w+\])?")
_TASK: Final = re.compile(r"task:(\S+)\s+state:D\b.{0,100}? pid:(\d+)\b(?:.{0,40}? tgid:(\d+)\b)?")
_FRAME: Final = re.compile(
    r"^(?:\[[^\]]*\])?\s+([a-z_]\w*)[.\w]*\+0x[0-9a-f]+/0x[0-9a-f]+( \[\w+\])?", re.IGNORECASE
)
_WAITING: Final = re.compile(
    r"^(?:__)?(?:schedule(?:_\w+)?|io_schedule(?:_\w+)?|context_switch|mutex_lock\w*|rt_mutex\w*|"
    r"wait_for_common|wait_for_completion\w*|down\w*|rwsem\w*|do_wait_for_common|preempt_schedule\w*|msleep\w*)$"
)


@dataclass(frozen=True, slots=True)
class StuckTask:
    """A task in state D, which no signal ends.

    Attributes:
        name: of it.
        pid: number of the thread.
        process: number of its process; that of the thread where the kernel does not say.
        where: the kernel's function that it waits in, below the scheduler's own and those of locks.
    """

    name: str
    pid: int
    process: int
    where: str

    def __str__(self) -> str:
        return f"{self.name}, pid {self.pid}, is stuck in the kernel, in {self.where or 'a place unknown'}"


def has_last_words(console: str) -> bool:
    """Whether the kernel has said that it goes down by itself."""
    return _LAST_WORDS.search(console) is not None


def last_words(console: str) -> str:
    """What a kernel that went down by itself wrote last; says so when it wrote nothing."""
    words = _LAST_WORDS.findall(console)
    return str(words[-1]) if words else "without a word; a triple fault looks like this"


def reason_of_panic(console: str) -> str:
    """The kernel's reason for its last panic; empty when there is none."""
    found = _REASON.findall(console)
    return str(found[-1]).strip() if found else ""


def first_function(console: str, processor: int) -> str:
    """The kernel's function that a processor was in when its backtrace was taken; empty when none is there."""
    for number, said in reversed(_PROCESSOR.findall(console)):
        if int(number) == processor and (found := _IN_KERNEL.search(said)):
            return found[1] + (found[2] or "")
    return ""


def stuck_tasks(console: str) -> list[StuckTask]:
    """All tasks in state D that the kernel wrote about, in its order."""
    tasks = []
    heads = list(_TASK.finditer(console))
    for head, following in zip(heads, [*heads[1:], None], strict=False):
        name, pid, process = head.groups()
        where = _waits_in(console[head.end() : following.start() if following else len(console)])
        tasks.append(StuckTask(name, int(pid), int(process or pid), where))
    return tasks


def _waits_in(trace: str) -> str:
    for line in trace.splitlines():
        if "</TASK>" in line:
            break
        frame = _FRAME.match(line)
        if frame and not _WAITING.match(frame[1]):
            return frame[1] + (frame[2] or "")
    return ""
