"""Resets that the kernel performed, from entry to return of the function that performs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.history.columns import Edge
from harness.history.history import History
from harness.history.windows.trace import hits, signed, untraced
from harness.model.pci import ResetMethod
from harness.model.units import Ns

RESET_FUNCTIONS: Final[dict[str, ResetMethod | None]] = {
    "pcie_flr": ResetMethod.FLR,
    "pci_af_flr": ResetMethod.AF_FLR,
    "pci_pm_reset": ResetMethod.PM,
    "pci_reset_bus_function": ResetMethod.BUS,
    "cxl_reset_bus_function": ResetMethod.CXL_BUS,
    "pci_dev_specific_reset": ResetMethod.DEVICE_SPECIFIC,
    "pci_dev_acpi_reset": ResetMethod.ACPI,
    "pci_reset_bus": None,
}
"""Kernel functions that perform one method each (Linux drivers/pci/pci.c, `pci_reset_fn_methods[]`), and the one that
resets all functions of a bus or slot for VFIO: no method, a hot reset.

All but `pcie_flr` and `pci_reset_bus` are also called to *probe* for the method; the agent fetches that argument as
`value`, and an entry with a value other than 0 is no reset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetSpan:
    """One reset at work, from entry to return of its kernel function.

    Attributes:
        function: index into `Plan.functions`; of a hot reset the one through which it was asked for.
        method: which one; None for a hot reset.
        begin_ns, end_ns: entry and return.
        result: what the function returned: 0 or a negative errno; None when it never returned in the trace.
        tid: thread.
        row: of the entry in `History.kernel`.
    """

    function: int
    method: ResetMethod | None
    begin_ns: Ns
    end_ns: Ns
    result: int | None
    tid: int
    row: int

    @property
    def name(self) -> str:
        """What people call it: the method, or `hot`."""
        return str(self.method) if self.method else "hot"


def reset_doubts(history: History, method: ResetMethod | None) -> tuple[str, ...]:
    """Reasons why the trace does not show for certain whether `method` was performed; empty when it does.

    None asks for hot resets.
    """
    if reason := untraced(history.probes):
        return (f"the kernel could not be traced ({reason})",)
    reasons = [f"{history.lost_kernel_events} trace events were lost"] if history.lost_kernel_events else []
    symbols = {symbol for symbol, performs in RESET_FUNCTIONS.items() if performs is method}
    for edge in Edge:
        probes = [probe for probe in history.probes if probe.symbol in symbols and probe.edge is edge]
        if not any(probe.present for probe in probes):
            reasons.append(f"no probe on {edge} of {' or '.join(sorted(symbols))}")
        reasons.extend(
            f"{probe.missed} hits on {edge} of {probe.symbol} were missed" for probe in probes if probe.missed
        )
    return tuple(reasons)


def resets(history: History) -> tuple[ResetSpan, ...]:
    """All resets of the plan's functions that the kernel performed, sorted by beginning."""
    spans: list[ResetSpan] = []
    running: dict[tuple[int, str], list[tuple[int, Ns, int, bool]]] = {}
    for row, (symbol, edge), tid, function, time, value in hits(history, RESET_FUNCTIONS):
        key = (tid, symbol)
        if edge is Edge.ENTRY:
            running.setdefault(key, []).append((function, time, row, value == 0))
        elif running.get(key):
            resetting, begin, entry_row, real = running[key].pop()
            if real and resetting >= 0:
                spans.append(
                    ResetSpan(
                        function=resetting,
                        method=RESET_FUNCTIONS[symbol],
                        begin_ns=begin,
                        end_ns=time,
                        result=signed(value),
                        tid=tid,
                        row=entry_row,
                    )
                )
    for (tid, symbol), entries in running.items():
        spans.extend(
            ResetSpan(
                function=function,
                method=RESET_FUNCTIONS[symbol],
                begin_ns=begin,
                end_ns=history.end_ns,
                result=None,
                tid=tid,
                row=row,
            )
            for function, begin, row, real in entries
            if real and function >= 0
        )
    return tuple(sorted(spans, key=lambda span: span.begin_ns))
