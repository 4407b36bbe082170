-- Appends a batch of drafts to their logs: one round trip, one transaction, no hole in any log.
--
-- All arrays have one element for each draft, in the order of writing, and no two drafts with an
-- idem are of the same room and sender (the caller sees to that). READ COMMITTED only: each
-- statement sees what was committed before it began, so what is read after the lock stays true.
--
-- statuses: 0 written, 1 there already, 2 no such room, 3 banned, 4 not a member, 5 archived,
-- 6 muted, 7 the role is not enough. For 0 and 1 also offs, ids, times and digests of the row
-- that stands; times is NULL where only the key of the row was kept. For 3 and 6 also untils.
--
-- The planner may not choose: it knows nothing about arrays, and a plan that was good for an
-- empty table is kept. Every look-up is one by an index.
CREATE FUNCTION append_batch(
    p_feeds   uuid[],      -- logs of people that are made when they do not exist, sorted
    p_room    uuid[],
    p_sender  text[],
    p_member  boolean[],   -- the sender writes by their own right: it is checked
    p_idem    uuid[],      -- NULL: may be repeated
    p_hash    bytea[],     -- of the sender, as in publish_keys
    p_digest  bigint[],
    p_id      uuid[],
    p_kind    smallint[],
    p_payload bytea[],
    OUT statuses smallint[],
    OUT offs     bigint[],
    OUT ids      uuid[],
    OUT times    bigint[],
    OUT digests  bigint[],
    OUT untils   bigint[]
) LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan
SET jit = off
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_now bigint;
BEGIN
    IF cardinality(p_feeds) > 0 THEN
        INSERT INTO rooms (id, kind, created_at)
            SELECT f.id, 4, (extract(epoch FROM clock_timestamp()) * 1000)::bigint
              FROM unnest(p_feeds) WITH ORDINALITY AS f(id, ord) ORDER BY f.ord
            ON CONFLICT (id) DO NOTHING;
    END IF;
    -- In the order of ids, as everyone does, and as a statement of its own: a repeat that another
    -- node committed while this one waited for the lock must be seen.
    PERFORM 1 FROM rooms r WHERE r.id = ANY (p_room) ORDER BY r.id FOR NO KEY UPDATE;
    v_now := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    SELECT array_agg(o.status), array_agg(o.off), array_agg(o.id), array_agg(o.at),
           array_agg(o.digest), array_agg(o.until)
      INTO statuses, offs, ids, times, digests, untils
      FROM (
        SELECT d.status, d.id, d.at, d.digest, d.until,
               CASE WHEN d.status = 0
                    THEN d.head + count(*) FILTER (WHERE d.status = 0)
                                  OVER (PARTITION BY d.room ORDER BY d.ord)
                    ELSE d.off END AS off
          FROM (
            SELECT t.ord, t.room, r.head,
                   CASE WHEN x.off IS NOT NULL OR k.off IS NOT NULL THEN 1
                        WHEN r.head IS NULL THEN 2
                        WHEN NOT t.member THEN 0
                        WHEN r.kind = 4 THEN 2
                        WHEN m.banned_until > v_now THEN 3
                        WHEN m.role IS NULL THEN 4
                        WHEN r.archived_at IS NOT NULL THEN 5
                        WHEN m.muted_until > v_now THEN 6
                        WHEN m.role < 2 THEN 7
                        ELSE 0 END::smallint AS status,
                   coalesce(x.off, k.off) AS off,
                   coalesce(x.id, k.id, t.id) AS id,
                   CASE WHEN x.off IS NOT NULL THEN x.created_at
                        WHEN k.off IS NULL THEN v_now END AS at,
                   coalesce(x.digest, k.digest, t.digest) AS digest,
                   CASE WHEN m.banned_until > v_now THEN m.banned_until
                        ELSE m.muted_until END AS until
              FROM unnest(p_room, p_sender, p_member, p_idem, p_hash, p_digest, p_id)
                   WITH ORDINALITY AS t(room, sender, member, idem, hash, digest, id, ord)
              LEFT JOIN LATERAL (
                SELECT r.head, r.kind, r.archived_at FROM rooms r WHERE r.id = t.room LIMIT 1
              ) r ON true
              LEFT JOIN LATERAL (
                SELECT m.role, m.banned_until, m.muted_until FROM members m
                 WHERE t.member AND m.room_id = t.room AND m.user_id = t.sender LIMIT 1
              ) m ON true
              LEFT JOIN LATERAL (
                SELECT x.off, x.id, x.created_at, x.digest FROM messages x
                 WHERE x.room_id = t.room AND x.sender = t.sender AND x.idem = t.idem LIMIT 1
              ) x ON true
              LEFT JOIN LATERAL (
                SELECT k.off, k.id, k.digest FROM publish_keys k
                 WHERE x.off IS NULL AND k.room_id = t.room AND k.sender_hash = t.hash
                   AND k.idem = t.idem LIMIT 1
              ) k ON true
          ) d
         ORDER BY d.ord
      ) o;
    INSERT INTO messages
            (room_id, off, id, kind, sender, idem, digest, created_at, payload)
        SELECT t.room, t.off, t.id, t.kind, t.sender, t.idem, t.digest, v_now, t.payload
          FROM unnest(statuses, offs, p_room, p_id, p_kind, p_sender, p_idem, p_digest, p_payload)
               AS t(status, off, room, id, kind, sender, idem, digest, payload)
         WHERE t.status = 0;
    UPDATE rooms r SET head = c.head
      FROM (SELECT t.room, max(t.off) AS head FROM unnest(statuses, offs, p_room)
                   AS t(status, off, room) WHERE t.status = 0 GROUP BY t.room) c
     WHERE r.id = c.room;
END $$;
