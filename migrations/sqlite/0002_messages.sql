-- The room log: every change in a room is one row, in one gap-free sequence for each room.

CREATE TABLE messages (
    room_id    BLOB     NOT NULL,
    off        INTEGER   NOT NULL,
    id         BLOB     NOT NULL,
    kind       INTEGER NOT NULL,   -- 1 message, 2 edit, 3 delete, 4 reaction, 6 member, 7 room, 8 read
    sender     TEXT     NOT NULL,   -- '' is the server
    idem       BLOB,
    digest     INTEGER   NOT NULL DEFAULT 0,  -- of what the client sent: the same idem means the same
    target     INTEGER,              -- the offset of the message that this row concerns
    subject    TEXT,                -- the person that this row concerns
    created_at INTEGER   NOT NULL,
    deleted_at INTEGER,
    payload    BLOB    NOT NULL,   -- the event as clients get it, as it stands now: JSON
    CONSTRAINT messages_pkey PRIMARY KEY (room_id, off),
    CONSTRAINT messages_id UNIQUE (id),
    CONSTRAINT messages_idem UNIQUE (room_id, sender, idem)
) STRICT;

CREATE INDEX idx_messages_room_created ON messages (room_id, created_at DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX messages_target ON messages (room_id, target, kind, off) WHERE target IS NOT NULL;
CREATE INDEX messages_subject ON messages (subject, room_id, off) WHERE subject IS NOT NULL;

CREATE TABLE reactions (
    room_id    BLOB   NOT NULL,
    target     INTEGER NOT NULL,     -- the offset of the message
    user_id    TEXT   NOT NULL,
    emoji      TEXT   NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT reactions_pkey PRIMARY KEY (room_id, target, user_id, emoji)
) STRICT;

CREATE INDEX reactions_emoji ON reactions (room_id, target, emoji);
CREATE INDEX reactions_user ON reactions (user_id, room_id, target, emoji);

CREATE TABLE read_marks (
    user_id    TEXT   NOT NULL,
    room_id    BLOB   NOT NULL,
    off        INTEGER NOT NULL,     -- everything up to here is read
    updated_at INTEGER NOT NULL,
    CONSTRAINT read_marks_pkey PRIMARY KEY (user_id, room_id)
) STRICT;

-- The idempotency keys of rows that retention or erasure removed; asked when messages has none.
CREATE TABLE publish_keys (
    room_id     BLOB   NOT NULL,
    sender_hash BLOB  NOT NULL,    -- HMAC-SHA256 of the sender under meta.secret
    idem        BLOB   NOT NULL,
    off         INTEGER NOT NULL,
    id          BLOB   NOT NULL,
    digest      INTEGER NOT NULL,
    CONSTRAINT publish_keys_pkey PRIMARY KEY (room_id, sender_hash, idem)
) STRICT;
