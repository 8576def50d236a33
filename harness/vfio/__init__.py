"""VFIO objects that own their descriptors: container, group, device, regions."""
