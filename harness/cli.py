"""PLACEHOLDER."""
def main() -> int:
    return 0
