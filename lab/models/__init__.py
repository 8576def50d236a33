"""Device models in Python, served to QEMU over vfio-user: functions that misbehave on demand.

Pure inside, thin at the edge: `wire` and `conversation` know the protocol and no socket, `registers` and
`function` know PCI and no protocol, `server` is the process that joins them.
"""
