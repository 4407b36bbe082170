-- The room log: every change in a room is one row, in one gap-free sequence for each room.

CREATE TABLE messages (
    room_id    uuid     NOT NULL,
    off        bigint   NOT NULL,
    id         uuid     NOT NULL,
    kind       smallint NOT NULL,   -- 1 message, 2 edit, 3 delete, 4 reaction, 6 member, 7 room, 8 read
    sender     text COLLATE "C" NOT NULL,   -- '' is the server
    idem       uuid,
    digest     bigint   NOT NULL DEFAULT 0,  -- of what the client sent: the same idem means the same
    target     bigint,              -- the offset of the message that this row concerns
    subject    text,                -- the person that this row concerns
    created_at bigint   NOT NULL,
    deleted_at bigint,
    payload    bytea    NOT NULL,   -- the event as clients get it, as it stands now: JSON
    CONSTRAINT messages_pkey PRIMARY KEY (room_id, off),
    CONSTRAINT messages_id UNIQUE (id),
    CONSTRAINT messages_idem UNIQUE (room_id, sender, idem)
);

CREATE INDEX idx_messages_room_created ON messages (room_id, created_at DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX messages_target ON messages (room_id, target, kind, off) WHERE target IS NOT NULL;
CREATE INDEX messages_subject ON messages (subject, room_id, off) WHERE subject IS NOT NULL;

CREATE TABLE reactions (
    room_id    uuid   NOT NULL,
    target     bigint NOT NULL,     -- the offset of the message
    user_id    text   NOT NULL,
    emoji      text   NOT NULL,
    created_at bigint NOT NULL,
    CONSTRAINT reactions_pkey PRIMARY KEY (room_id, target, user_id, emoji)
);

CREATE INDEX reactions_emoji ON reactions (room_id, target, emoji);
CREATE INDEX reactions_user ON reactions (user_id, room_id, target, emoji);

CREATE TABLE read_marks (
    user_id    text   NOT NULL,
    room_id    uuid   NOT NULL,
    off        bigint NOT NULL,     -- everything up to here is read
    updated_at bigint NOT NULL,
    CONSTRAINT read_marks_pkey PRIMARY KEY (user_id, room_id)
);

-- The idempotency keys of rows that retention or erasure removed; asked when messages has none.
CREATE TABLE publish_keys (
    room_id     uuid   NOT NULL,
    sender_hash bytea  NOT NULL,    -- HMAC-SHA256 of the sender under meta.secret
    idem        uuid   NOT NULL,
    off         bigint NOT NULL,
    id          uuid   NOT NULL,
    digest      bigint NOT NULL,
    CONSTRAINT publish_keys_pkey PRIMARY KEY (room_id, sender_hash, idem)
);
