-- Rooms, who is in them, and what the whole database agrees on.
--
-- A room is one log of events. A person's own feed is a room too, of kind 4: one log, one way.
-- Times are Unix milliseconds. There are no foreign keys: they cost a third of the append rate,
-- and every writer holds the lock of the room it writes to. Ids of people are compared byte by
-- byte, as SQLite does it: an order that no locale and no version of a library changes.

-- 'epoch': the life of all offsets, as text; a restore with loss writes a new one.
-- 'secret': 32 random bytes, the key of the hashes in publish_keys.
CREATE TABLE meta (
    key   text  NOT NULL,
    value bytea NOT NULL,
    CONSTRAINT meta_pkey PRIMARY KEY (key)
);

INSERT INTO meta (key, value) VALUES
    ('epoch', convert_to(substr(replace(gen_random_uuid()::text, '-', ''), 1, 8), 'UTF8')),
    ('secret', decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

CREATE TABLE rooms (
    id                uuid     NOT NULL,
    kind              smallint NOT NULL,            -- 1 public, 2 private, 3 direct, 4 feed
    head              bigint   NOT NULL DEFAULT 0,  -- the newest offset
    trimmed           bigint   NOT NULL DEFAULT 0,  -- retention removed the offsets up to this one
    revision          bigint   NOT NULL DEFAULT 0,  -- raised when kept events changed without a new one
    name              text     NOT NULL DEFAULT '',
    topic             text     NOT NULL DEFAULT '',
    people            bytea,                        -- direct: the hash of who is in it
    member_count      bigint   NOT NULL DEFAULT 0,  -- rows in members with a role
    slow_mode_seconds integer  NOT NULL DEFAULT 0,
    retention_seconds bigint,                       -- NULL: the server's default; 0: for ever
    archived_at       bigint,
    created_at        bigint   NOT NULL,
    created_by        text     NOT NULL DEFAULT '',
    CONSTRAINT rooms_pkey PRIMARY KEY (id),
    CONSTRAINT rooms_people UNIQUE (people),
    CONSTRAINT rooms_kind CHECK (kind BETWEEN 1 AND 4)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX rooms_public ON rooms (id) WHERE kind = 1;

CREATE TABLE members (
    room_id      uuid   NOT NULL,
    user_id      text   COLLATE "C" NOT NULL,  -- in the order of its bytes, whatever the locale
    role         smallint,                    -- 1 guest .. 5 owner; NULL: not in it, yet muted or banned
    muted_until  bigint NOT NULL DEFAULT 0,   -- 0: not; the largest value: for ever
    banned_until bigint NOT NULL DEFAULT 0,
    joined_at    bigint NOT NULL,
    CONSTRAINT members_pkey PRIMARY KEY (room_id, user_id),
    CONSTRAINT members_role CHECK (role BETWEEN 1 AND 5)
);

CREATE INDEX members_user ON members (user_id, room_id) WHERE role IS NOT NULL;
CREATE INDEX members_owners ON members (room_id) WHERE role = 5;
