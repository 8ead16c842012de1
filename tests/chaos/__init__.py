"""The fault machine: real traffic, real faults, and a judge who knows nothing of the product. See docs/chaos.md."""
