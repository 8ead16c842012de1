"""What the engine is configured with, so that its database ``default`` is one like others.

clickhouse-local's engine lays the working folder over it: any name that is no table would be looked for among files.
"""

from pathlib import Path

_ENGINE = """<clickhouse>
    <!-- Nothing is laid over a database; the one in the data folder is taken. -->
    <default_database/>
    <database>default</database>
    <merge_tree>
        <!-- A small part is one file, not twelve: making files is much of what a small insert costs. -->
        <min_bytes_for_full_part_storage>134217728</min_bytes_for_full_part_storage>
        <!-- Merges would gather statistics of every column, for the planning of joins. -->
        <auto_statistics_types/>
        <!-- More parts at a time are merged, less often; by default 5. -->
        <merge_selector_base>8</merge_selector_base>
    </merge_tree>
    {memory}
</clickhouse>
"""

_FIRST = "<clickhouse/>\n"


def write_configuration(folder: Path, *, max_memory: int) -> Path:
    """Write the engine's configuration, and give the file to name to it.

    Without a file that is named to it, the engine looks for one in the working folder, at home and in /etc.

    Args:
        folder: where to.
        max_memory: bytes it may use; 0 leaves it to the engine.
    """
    engine = folder / "engine.xml"
    memory = f"<max_server_memory_usage>{max_memory}</max_server_memory_usage>" if max_memory else ""
    engine.write_text(_ENGINE.format(memory=memory), encoding="utf-8")
    return engine


def write_first_configuration(folder: Path) -> Path:
    """Write what an empty folder is opened with once, so that its database ``default`` can be made."""
    first = folder / "first.xml"
    first.write_text(_FIRST, encoding="utf-8")
    return first
