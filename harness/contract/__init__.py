"""What Linux, and the emulated platforms, promise: as data, with the source of every promise.

The TOML files of this package hold the contract, one subject a file; `docs/contract.md` explains their form.
:func:`load` reads and checks them all, :meth:`Contract.terms` chooses what applies to one kernel and to the
functions of one history.  Nothing here judges, and nothing here looks at a device.
"""

from harness.contract.contract import Contract, load
from harness.contract.oracles import OracleEntry
from harness.contract.platforms import Platform
from harness.model.pci import Nature

__all__ = ["Contract", "Nature", "OracleEntry", "Platform", "load"]
