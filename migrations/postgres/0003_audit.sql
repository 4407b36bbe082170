-- Who did what with more rights than everyone has; written in the transaction of the act.

CREATE TABLE audit (
    id         uuid     NOT NULL,   -- UUIDv7: in the order of time
    room_id    uuid     NOT NULL,
    actor      text     NOT NULL,
    action     text     NOT NULL,   -- the method, such as member.ban
    subject    text     NOT NULL,   -- the person or message concerned
    detail     bytea    NOT NULL,   -- JSON
    created_at bigint   NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (id)
);

CREATE INDEX audit_room ON audit (room_id, id);
