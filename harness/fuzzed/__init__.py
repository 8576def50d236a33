"""What `harness fuzz` runs: random plans over healthy functions, staged in clones of today's lab."""
