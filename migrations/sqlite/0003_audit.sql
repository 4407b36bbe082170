-- Who did what with more rights than everyone has; written in the transaction of the act.

CREATE TABLE audit (
    id         BLOB     NOT NULL,   -- UUIDv7: in the order of time
    room_id    BLOB     NOT NULL,
    actor      TEXT     NOT NULL,
    action     TEXT     NOT NULL,   -- the method, such as member.ban
    subject    TEXT     NOT NULL,   -- the person or message concerned
    detail     BLOB    NOT NULL,   -- JSON
    created_at INTEGER   NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (id)
) STRICT;

CREATE INDEX audit_room ON audit (room_id, id);
