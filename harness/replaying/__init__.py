"""What `harness replay HISTORY` runs: the plan of a history, staged again in today's lab."""
