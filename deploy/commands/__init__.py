"""The subcommands of ``todoke``, a module each, which defines ``command``."""
