"""Debian's packages: found, fetched, verified, unpacked beside the system."""
