"""The journal's tables."""

LAYOUT = 1
"""Version of the tables; a release that cannot read the ones before it counts this up."""

APPLICATION = 0x746F646F
"""Tells our file from other databases: ``todo`` in ASCII."""

SCHEMA = """
create table runs (
    id integer primary key,
    instance text not null unique,
    last_post integer not null default 0
) strict;

create table inboxes (shards integer not null) strict;

create table entries (
    id integer primary key,
    chunk integer not null,
    shard integer not null,
    run integer not null references runs (id),
    first_post integer not null,
    last_post integer not null,
    posts integer not null,
    accepted_at integer not null,
    checksum integer not null,
    content blob not null
) strict;

create index entries_of_chunks on entries (chunk);
"""
