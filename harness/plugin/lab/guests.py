"""The targets of one test, such as guests: the one it has now, and a fresh one when that one is of no use any more.

Where cores are spare, the next test's clone is made while a test runs (:class:`Ahead`): half a second that nobody
waits for.  It is as fresh as any other: never used, its console in the test's own file, its clocks set and compared
when it is handed over.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.target.protocol import Make, MakeWaiting, Target, Waiting

if TYPE_CHECKING:
    from harness.history.history import History
    from harness.model.verdict import Judgement


class Ahead:
    """Keeps at most one clone ready for whoever needs the next one; none is made before :meth:`begin`."""

    def __init__(self, make: MakeWaiting, folder: Path, name: str) -> None:
        """Make nothing yet.

        Args:
            make: makes one.
            folder: where consoles lie until they get their names: on the file system of the results.
            name: tells the runners apart that share this folder.
        """
        self._make_one, self._folder, self._name = make, folder, name
        self._numbers = itertools.count()
        self._maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="guest-ahead")
        self._next: tuple[Path, Future[tuple[ExitStack, Waiting]]] | None = None

    def begin(self) -> None:
        """Begin to make a clone, unless there is one."""
        if self._next is None:
            console = self._folder / f".ahead-{self._name}-{next(self._numbers)}.console.log"
            self._next = console, self._maker.submit(self._make, console)

    def wait(self) -> None:
        """Wait until the clone that was begun, if any, is ready or has failed."""
        if self._next is not None:
            wait([self._next[1]])

    @contextmanager
    def lend(self, console: Path) -> Iterator[Target]:
        """The clone that is ready or about to be, or one that is made now, for the length of a block.

        Args:
            console: where its console belongs.
        """
        with ExitStack() as life:
            yield self._take(console, life) or life.enter_context(self._make_one(console))

    def _take(self, console: Path, until: ExitStack) -> Target | None:
        """Hand the clone over that is ready or about to be.

        Args:
            console: where its console belongs.
            until: ends it.

        Returns:
            None when none was begun, or when it is not fit for use: then make another one.
        """
        begun, self._next = self._next, None
        if begun is None:
            return None
        waiting, future = begun
        with ExitStack() as life:
            life.callback(waiting.unlink, missing_ok=True)
            try:
                made, target = future.result()
                life.push(made)
                target.hand_over(console)
            except HarnessError:  # whoever makes one now meets the same trouble, or none
                return None
            until.push(life.pop_all())
            return target

    def close(self) -> None:
        """End the clone that nobody took."""
        begun, self._next = self._next, None
        if begun is not None:
            waiting, future = begun
            with suppress(HarnessError):
                future.result()[0].close()
            waiting.unlink(missing_ok=True)
        self._maker.shutdown()

    def _make(self, console: Path) -> tuple[ExitStack, Waiting]:
        with ExitStack() as life:
            target = life.enter_context(self._make_one(console))
            return life.pop_all(), target


class TargetSource:
    """Targets of one test: the one it has now, and a fresh one when that one is of no use any more."""

    def __init__(self, make: Make, console: Path, ahead: Ahead | None = None) -> None:
        """Make nothing yet.

        Args:
            make: makes one, such as :meth:`Ahead.lend`.
            console: where the first one's console is recorded; those of others lie beside it.
            ahead: what makes the next test's meanwhile.
        """
        self._make, self._console = make, console
        self._ahead, self._another_follows = ahead, False
        self._open = ExitStack()
        self.consoles: list[Path] = []
        self._target: Target | None = None

    @property
    def target(self) -> Target:
        """The guest, made at the first use."""
        return self._target or self.renew()

    def renew(self) -> Target:
        """Give the target back, and have it made again: of a guest, throw it away and make another one."""
        self.close()
        number = len(self.consoles)
        console = self._console.with_suffix(f".{number}.log") if number else self._console
        self.consoles.append(console)
        self._target = self._open.enter_context(self._make(console))
        if self._target.console is None:
            self.consoles.remove(console)
        if self._another_follows:
            self.another_follows()
        return self._target

    def another_follows(self) -> None:
        """The next test wants a clone, too: begin to make it as soon as this test has its own."""
        self._another_follows = True
        if self._ahead is not None and self._target is not None:
            self._ahead.begin()

    def borrow(self, alias: str) -> None:
        """A test is about to use a function; of its own guest it may use them all."""

    def judged(self, history: History, judgement: Judgement, file: str) -> None:
        """A stage was judged, whose history is kept in that file; no later test will meet its functions."""

    def check(self) -> None:
        """Look at what served the whole test: its models, and the clocks of guest and host.

        Raises:
            ModelError: a model of one's own made a mistake, which nobody was told of.
            ClockError: the guest's clock ran wild: what was timed cannot be believed.
        """
        target = self._target
        if target is None:
            return
        refuse_untold(target)
        if not target.lost:  # else whoever lost it has said so
            target.check_clock()

    def close(self) -> None:
        """End the guest, if there is one."""
        self._target = None
        self._open.close()


def refuse_untold(target: Target) -> None:
    """Say what a model did that no model may, unless it was said: nobody may take it for the function's doing.

    Raises:
        ModelError: one did.
    """
    for mistake in target.mistakes():
        if mistake.__traceback__ is None:  # else it was raised before
            raise mistake
