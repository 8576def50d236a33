"""The contract as a whole: reading it, and choosing from it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeVar

from harness.contract.fields import FieldEntry, read_field, resolve
from harness.contract.log_rules import read_log_rule
from harness.contract.oracles import OracleEntry, read_oracle
from harness.contract.platforms import UNKNOWN_PLATFORM, Platform, read_platform
from harness.contract.promises import ANY_PLATFORM, applicable, read_promise, refuse_conflicts
from harness.contract.schema import Entry
from harness.errors import ContractError, HistoryError, UsageError
from harness.history.history import LOCKDOWN, FunctionRecord, History
from harness.model.kernel import KernelVersion
from harness.model.limits import CONTRACT_FILE, CONTRACT_KEY
from harness.model.pci import Nature, ResetMethod
from harness.model.plain import shown
from harness.model.promise import Lockdown, Promise
from harness.model.terms import LogRule, Terms

SECTIONS: Final = ("promise", "oracle", "volatile", "unrestored", "platform", "log")
"""Arrays of tables that a contract file may hold."""

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """All entries of all files.

    Attributes:
        promises: operation, window, kernels, platforms → outcome, bounds, state, config.
        oracles: registers that tell whether a reset happened.
        volatile: bits that differ between two reads of a healthy function.
        unrestored: bits that no reset restores.
        platforms: function models.
        log_rules: how to read the kernel log, the first match counts.
    """

    promises: tuple[Promise, ...]
    oracles: tuple[OracleEntry, ...] = ()
    volatile: tuple[FieldEntry, ...] = ()
    unrestored: tuple[FieldEntry, ...] = ()
    platforms: tuple[Platform, ...] = ()
    log_rules: tuple[LogRule, ...] = ()

    def __post_init__(self) -> None:
        refuse_conflicts(self.promises)
        for promise in self.promises:
            self._refuse_unknown(promise.id, promise.platforms)
        for oracle in self.oracles:
            self._refuse_unknown(oracle.source, oracle.platforms)
        for field in (*self.volatile, *self.unrestored):
            self._refuse_unknown(field.source, field.platforms)

    def _refuse_unknown(self, entry: str, platforms: tuple[str, ...]) -> None:
        known = {ANY_PLATFORM, *(platform.word for platform in self.platforms)}
        for word in platforms:
            if word not in known:
                raise ContractError(
                    f"contract entry {entry!r}",
                    said=f"platform {word!r} is described nowhere",
                    hint="Add a [[platform]] entry, or correct the word.",
                )

    @classmethod
    def read(cls, texts: Mapping[str, str | bytes]) -> Contract:
        """Read contract files.

        Args:
            texts: contents by file name; bytes are UTF-8.

        Raises:
            ContractError: a file is malformed, empty or too large, or two entries contradict each other.
        """
        tables = {file: _toml(file, text) for file, text in texts.items()}
        return cls(
            promises=tuple(
                promise for entry in _section(tables, "promise", read_promise) for promise in entry
            ),
            oracles=_section(tables, "oracle", read_oracle),
            volatile=_section(tables, "volatile", read_field),
            unrestored=_section(tables, "unrestored", read_field),
            platforms=_section(tables, "platform", read_platform),
            log_rules=_section(tables, "log", read_log_rule),
        )

    def terms(
        self,
        kernel: KernelVersion,
        functions: Sequence[FunctionRecord],
        wrongs: Callable[[str], frozenset[str]] = lambda _: frozenset(),
        lockdown: str = Lockdown.NONE,
        neighbours: Sequence[FunctionRecord] = (),
    ) -> Terms:
        """Choose what applies to one history.

        Args:
            kernel: that ran on the target.
            functions: as the history records them; capabilities are found in their config space.
            wrongs: what was staged to go wrong with a function, by alias.
            lockdown: the state of the kernel's lockdown, or anything else where nobody knows it.
            neighbours: functions around those, to whose config space entries on bits apply as well.
        """
        at_hand = (*functions, *neighbours)

        def chosen(state: Lockdown) -> dict[str, tuple[Promise, ...]]:
            return {
                one.alias: applicable(self.promises, kernel, one.platform, wrongs(one.alias), state)
                for one in functions
            }

        known = lockdown in tuple(Lockdown)
        return Terms(
            promises=chosen(Lockdown(lockdown) if known else Lockdown.NONE),
            perhaps={} if known else chosen(Lockdown.CONFIDENTIALITY),
            volatile=resolve(self.volatile, at_hand),
            unrestored=resolve(self.unrestored, at_hand),
            log_rules=self.log_rules,
        )

    def terms_of(self, history: History) -> Terms:
        """Choose what applies to a history, by the kernel and the functions that it names.

        Raises:
            HistoryError: the history does not say which kernel ran.
        """
        release = str(history.provenance.get("kernel.release", ""))
        try:
            kernel = KernelVersion.parse(release)
        except UsageError as error:
            raise HistoryError(
                f"history of {shown(history.plan.title)}",
                said=f"names no kernel that promises could be chosen for: kernel release {shown(release)}",
                hint="Stage it again: `harness replay` needs no more than the plan.",
            ) from error
        # What no earlier harness wrote down is not asked of its histories.
        lockdown = str(history.provenance.get(LOCKDOWN, Lockdown.NONE))
        return self.terms(
            kernel, history.functions, history.plan.wrongs, lockdown, neighbours=history.neighbours or ()
        )

    def oracle(self, platform: str, method: ResetMethod) -> OracleEntry | None:
        """The register that tells whether `method` reset a function of this platform; None: none is known."""
        fitting = (o for o in self.oracles if platform in o.platforms and method in o.methods)
        return next(fitting, None)

    def platform(self, vendor: int, device: int, nature: Nature) -> str:
        """The word for a function model, `unknown` when no entry describes it."""
        for platform in self.platforms:
            if (platform.vendor, platform.device, platform.nature) == (vendor, device, nature):
                return platform.word
        return UNKNOWN_PLATFORM


def load(folder: Traversable | None = None) -> Contract:
    """Read the contract in a folder.

    Args:
        folder: whose files `*.toml` are read; None for the contract that comes with this package.

    Raises:
        ContractError: there is no file, one cannot be read or is malformed, or two entries contradict each other.
    """
    folder = folder or files(__package__)
    found = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".toml")),
        key=lambda file: file.name,
    )
    if not found:
        raise ContractError(f"contract in {folder}", said="no file *.toml is there")
    return Contract.read({file.name: _content(file) for file in found})


def _content(file: Traversable) -> bytes:
    if not file.is_file():
        raise ContractError(f"contract file {file.name}", said="no regular file")
    try:
        with file.open("rb") as stream:
            return stream.read(CONTRACT_FILE.most + 1)
    except OSError as error:
        raise ContractError(f"contract file {file.name}", said=error.strerror or str(error)) from error


def _toml(file: str, text: str | bytes) -> dict[str, Any]:
    place = f"contract file {file}"
    try:
        content = text.decode() if isinstance(text, bytes) else text
        dots = max((line.count(".") for line in content.splitlines()), default=0)
        if excess := CONTRACT_FILE.excess(len(text)) or CONTRACT_KEY.excess(dots):
            raise ContractError(place, said=excess)
        table = tomllib.loads(content)
    except UnicodeDecodeError as error:
        raise ContractError(
            place, said=f"no UTF-8: {error.reason} at byte {error.start}", hint="TOML is written in UTF-8."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ContractError(place, said=f"no TOML: {error}") from error
    if not table:
        raise ContractError(place, said="it holds no entry", hint="Was it cut short?  Remove it otherwise.")
    for section, entries in table.items():
        if section not in SECTIONS or not isinstance(entries, list):
            raise ContractError(
                f"contract file {file}, section {shown(section)}",
                said="unknown",
                hint=f"A file holds arrays of tables: {', '.join(f'[[{name}]]' for name in SECTIONS)}.",
            )
    return table


def _section(
    tables: Mapping[str, dict[str, Any]], section: str, read: Callable[[Entry], _Read]
) -> tuple[_Read, ...]:
    return tuple(
        read(Entry(file, f"{section} number {number}", item))
        for file, table in tables.items()
        for number, item in enumerate(table.get(section, ()), start=1)
    )
