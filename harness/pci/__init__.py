"""PCI functions through sysfs, on the machine whose kernel owns them."""
