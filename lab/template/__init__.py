"""A guest that was warmed and frozen, and its clones."""
