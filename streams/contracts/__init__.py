"""What every role agrees on: the bottom layer, the standard library and Zstandard alone.

Forms of records, names of topics, identities and shards are written down once, here; ``ingest``, ``streams`` and
``sinks`` know each other through nothing else.
"""
