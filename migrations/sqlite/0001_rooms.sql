-- Rooms, who is in them, and what the whole database agrees on.
--
-- A room is one log of events. A person's own feed is a room too, of kind 4: one log, one way.
-- Times are Unix milliseconds. There are no foreign keys, as in PostgreSQL: every writer holds
-- the database's one write lock.

-- 'epoch': the life of all offsets, as text; a restore with loss writes a new one.
-- 'secret': 32 random bytes, the key of the hashes in publish_keys.
CREATE TABLE meta (
    key   TEXT  NOT NULL,
    value BLOB NOT NULL,
    CONSTRAINT meta_pkey PRIMARY KEY (key)
) STRICT;

INSERT INTO meta (key, value) VALUES
    ('epoch', CAST(lower(hex(randomblob(4))) AS BLOB)),
    ('secret', randomblob(32));

CREATE TABLE rooms (
    id                BLOB     NOT NULL,
    kind              INTEGER NOT NULL,            -- 1 public, 2 private, 3 direct, 4 feed
    head              INTEGER   NOT NULL DEFAULT 0,  -- the newest offset
    trimmed           INTEGER   NOT NULL DEFAULT 0,  -- retention removed the offsets up to this one
    revision          INTEGER   NOT NULL DEFAULT 0,  -- raised when kept events changed without a new one
    name              TEXT     NOT NULL DEFAULT '',
    topic             TEXT     NOT NULL DEFAULT '',
    people            BLOB,                        -- direct: the hash of who is in it
    member_count      INTEGER   NOT NULL DEFAULT 0,  -- rows in members with a role
    slow_mode_seconds INTEGER  NOT NULL DEFAULT 0,
    retention_seconds INTEGER,                       -- NULL: the server's default; 0: for ever
    archived_at       INTEGER,
    created_at        INTEGER   NOT NULL,
    created_by        TEXT     NOT NULL DEFAULT '',
    CONSTRAINT rooms_pkey PRIMARY KEY (id),
    CONSTRAINT rooms_people UNIQUE (people),
    CONSTRAINT rooms_kind CHECK (kind BETWEEN 1 AND 4)
) STRICT;

CREATE INDEX rooms_public ON rooms (id) WHERE kind = 1;

CREATE TABLE members (
    room_id      BLOB   NOT NULL,
    user_id      TEXT   NOT NULL,
    role         INTEGER,                    -- 1 guest .. 5 owner; NULL: not in it, yet muted or banned
    muted_until  INTEGER NOT NULL DEFAULT 0,   -- 0: not; the largest value: for ever
    banned_until INTEGER NOT NULL DEFAULT 0,
    joined_at    INTEGER NOT NULL,
    CONSTRAINT members_pkey PRIMARY KEY (room_id, user_id),
    CONSTRAINT members_role CHECK (role BETWEEN 1 AND 5)
) STRICT;

CREATE INDEX members_user ON members (user_id, room_id) WHERE role IS NOT NULL;
CREATE INDEX members_owners ON members (room_id) WHERE role = 5;
