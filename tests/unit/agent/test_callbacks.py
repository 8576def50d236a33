"""What the probe's lines say of drivers' callbacks: as kernels print them."""

from __future__ import annotations

from harness.agent import callbacks
from harness.model.observation import Callbacks

HEAD = "  hil-agent-123   [000] .....    12.345678: told: (pci_user_read_config_byte+0x0/0xa0)"
TRACE = f"""# tracer: nop
#
{HEAD} device="0000:01:00.0" driver="nvme" handlers=0xffffffffc0a1b2c0 before=nvme_reset_prepare+0x0/0x20 [nvme] after=nvme_reset_done+0x0/0x20 [nvme]
{HEAD} device="0000:02:00.0" driver="igb" handlers=0xffffffffc0b1b2c0 before=0x0 after=0x0
{HEAD} device="0000:03:00.0" driver="virtio-pci" handlers=0x0 before=0xdeadbeef after=stale+0x10/0x20
{HEAD} device="0000:04:00.0" driver=(fault) handlers=0x5 before=stale+0x10/0x20 after=0x7
{HEAD} device="0000:05:00.0" driver="virtio-pci" handlers=0xffffffff82a1b2c0 before=virtio_pci_reset_prepare+0x0/0x60 after=virtio_pci_reset_done+0x0/0x60
  other-7   [001] .....    12.345679: p3: (pci_wait_cfg+0x0/0xa0) fn="0000:06:00.0"
"""  # noqa: E501  as it comes


def test_names_are_read_and_what_was_not_fetched_is_not_believed() -> None:
    assert callbacks.read(TRACE) == {
        "0000:01:00.0": Callbacks("nvme_reset_prepare", "nvme_reset_done"),
        "0000:02:00.0": Callbacks(),
        "0000:03:00.0": Callbacks(),
        "0000:05:00.0": Callbacks("virtio_pci_reset_prepare", "virtio_pci_reset_done"),
    }
