"""What sessions inside this one import, pytester forgets afterwards: so the plugins are imported here, once."""

from importlib import import_module

from harness.plugin.entry_point import PLUGINS

for module in PLUGINS.values():
    import_module(module)
