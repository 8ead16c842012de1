"""Faults that tests put between the parts of the pipeline."""
