"""How the host reaches an agent: the way to it, and what it can be asked."""
