"""The machine as data, and the QEMU that makes it."""
