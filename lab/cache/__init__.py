"""What was fetched or made once, and who may remove it."""
