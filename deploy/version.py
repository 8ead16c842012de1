"""Which todoke this is."""

from importlib.metadata import version

VERSION = version("todoke")
