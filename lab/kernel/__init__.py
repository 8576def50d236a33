"""The kernel that is tested, its modules, and ours for it."""
