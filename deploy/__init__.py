"""Composition root: command line, settings, and the whole pipeline on one machine."""
