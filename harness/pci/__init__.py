"""PCI functions through sysfs and pyudev, on the machine whose kernel owns them."""
