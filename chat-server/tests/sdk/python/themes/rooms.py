"""Rooms: made, talked in, read back, continued after a cut, and closed to those who are banned."""

import asyncio
import uuid

from centrifuge import ReplyError, StreamPosition


async def _call(s, client, method, data):
    return s.decode((await client.rpc(method, s.encode(data))).data)


async def _say(s, place, body, idem=None):
    data = {"type": "message", "body": body, "idem": idem or str(uuid.uuid4())}
    return await place.publish(s.encode(data))


async def _room(s, alice, *members):
    """A room of alice with others in it."""
    data = {"name": "The band", "members": [s.user(name) for name in members]}
    made = await _call(s, alice, "room.create", data)
    s.equal(made["channel"], f"room:{made['id']}", "channel")
    return made["id"], made["channel"]


def _offsets(subscription):
    return [entry.pub.offset for entry in subscription.log.all("publication")]


async def _away(s, client, act):
    """Cuts the way of `client`, does something meanwhile, and lets it return."""
    connects = len(client.log.all("connected"))
    await s.ask("cut", proxy="rooms")
    try:
        await s.until(lambda: client.state.value == "connecting", "the client notices the cut")
        await act()
    finally:
        await s.ask("restore", proxy="rooms")
    await s.until(lambda: len(client.log.all("connected")) == connects + 1, "connects again")


async def _refused(s, call, code, message):
    """The call must be answered with this code and these words."""
    try:
        await call
    except ReplyError as error:
        s.equal((error.code, error.message), (code, message), "code and message")
    else:
        s.ok(False, f"allowed, and not: {message}")


async def who_is_invited_learns_it_from_the_feed_and_hears_everything(s):
    alice, bob = await s.connected("alice"), await s.connected("bob")
    room, channel = await _room(s, alice)
    invited = await _call(s, alice, "room.invite", {"room": room, "user": s.user("bob")})
    s.equal(invited, {"role": "member", "offset": 2}, "the reply")
    feed = f"user:{s.user('bob')}"
    await s.until(lambda: s.received(bob.log, feed), "the feed tells")
    told = s.received(bob.log, feed)[0]
    joined = {"change": "joined", "user": s.user("bob"), "by": s.user("alice"), "role": "member"}
    s.equal(told, {"type": "member", "room": room, **joined}, "the event")
    his, hers = await s.subscribed(bob, channel), await s.subscribed(alice, channel)
    await _say(s, hers, "hello")
    await s.until(lambda: his.log.last("publication"), "the message")
    message = s.received(his.log)[0]
    s.equal((message["type"], message["body"]), ("message", "hello"), "the message")
    s.equal((message["sender"]["id"], _offsets(his)), (s.user("alice"), [3]), "sender, offset")


async def everyone_hears_everyone_in_one_order(s):
    alice, bob = await s.connected("alice"), await s.connected("bob")
    _, channel = await _room(s, alice, "bob")
    places = [await s.subscribed(alice, channel), await s.subscribed(bob, channel)]
    said = [_say(s, place, f"message {number}") for number in range(20) for place in places]
    await asyncio.gather(*said)
    await s.until(lambda: all(len(_offsets(place)) == 40 for place in places), "all of them")
    s.equal(s.received(places[0].log), s.received(places[1].log), "both hear the same")
    for place in places:
        s.equal(_offsets(place), list(range(3, 43)), "offsets")


async def a_message_that_is_sent_twice_is_there_once(s):
    alice = await s.connected("alice")
    _, channel = await _room(s, alice)
    place, idem = await s.subscribed(alice, channel), str(uuid.uuid4())
    await asyncio.gather(_say(s, place, "once", idem), _say(s, place, "once", idem))
    words = "this idem was used for another message"
    await _refused(s, _say(s, place, "twice", idem), 409, words)
    s.equal((await place.history(limit=10)).offset, 2, "the newest offset")


async def history_is_paged_both_ways(s):
    alice = await s.connected("alice")
    _, channel = await _room(s, alice)
    place = await s.subscribed(alice, channel)
    for number in range(25):
        await _say(s, place, f"message {number}")

    async def read(reverse):
        seen, since = [], None
        while True:
            page = await place.history(limit=10, since=since, reverse=reverse)
            if not page.publications:
                return seen
            seen += [pub.offset for pub in page.publications]
            since = StreamPosition(seen[-1], page.epoch)

    s.equal(await read(False), list(range(1, 27)), "forward")
    s.equal(await read(True), list(range(26, 0, -1)), "backward")


async def what_happened_while_the_way_was_cut_arrives_in_order_as_it_stands(s):
    names = ["alice", "carol", "dave", "erin"]
    clients = [await s.connected(name) for name in names]
    room, channel = await _room(s, clients[0], *names, "bob")
    bob = await s.connected("bob", through="rooms")
    place = await s.subscribed(bob, channel)
    talking = [await s.subscribed(client, channel) for client in clients]
    hers = talking[0]
    await _say(s, hers, "before")
    await s.until(lambda: place.log.last("publication"), "the first message")

    async def meanwhile():
        await _say(s, hers, "secret")
        await s.until(lambda: s.received(hers.log)[-1]["body"] == "secret", "alice hears it")
        secret = s.received(hers.log)[-1]["id"]
        await _call(s, clients[0], "message.delete", {"room": room, "id": secret})
        # More than one page of recovery.
        more = [_say(s, one, f"message {number}") for number in range(80) for one in talking]
        await asyncio.gather(*more)

    await _away(s, bob, meanwhile)
    last = 5 + 1 + 2 + 4 * 80
    await s.until(lambda: _offsets(place)[-1] == last, "everything")
    s.equal(_offsets(place), list(range(6, last + 1)), "offsets")
    event = place.log.last("subscribed")
    s.equal((event.was_recovering, event.recovered), (True, True), "was_recovering, recovered")
    heard = s.received(place.log)
    s.ok(heard[1]["deleted_at"] and heard[2]["type"] == "delete", "a tombstone and its deletion")
    s.ok("secret" not in str(heard), "what was deleted does not arrive")
    await _say(s, hers, "after")
    await s.until(lambda: s.received(place.log)[-1].get("body") == "after", "what comes next")


async def a_room_is_continued_from_a_position_that_was_kept(s):
    alice = await s.connected("alice")
    _, channel = await _room(s, alice)
    for body in ["one", "two", "three"]:
        await alice.publish(channel, s.encode({"type": "message", "body": body}))
    epoch = (await alice.history(channel)).epoch

    async def kept(_channel):
        return StreamPosition(2, epoch)

    place = await s.subscribed(alice, channel, get_state=kept)
    await s.until(lambda: len(_offsets(place)) == 2, "what was missed")
    s.equal([data["body"] for data in s.received(place.log)], ["two", "three"], "messages")


async def a_position_that_never_was_is_answered_112(s):
    alice = await s.connected("alice")
    _, channel = await _room(s, alice)
    epoch = (await alice.history(channel)).epoch
    for since in [StreamPosition(1, "another-life"), StreamPosition(99, epoch)]:
        await s.refused(alice.history(channel, limit=1, since=since), 112, "history")
    positions = [StreamPosition(99, epoch), StreamPosition(1, epoch)]
    loads = []

    async def state(_channel):
        loads.append(positions[len(loads)])
        return loads[-1]

    await s.subscribed(alice, channel, get_state=state)
    s.equal(loads, positions, "the state is loaded again")


async def who_is_banned_is_out_and_does_not_try_again(s):
    alice, bob = await s.connected("alice"), await s.connected("bob")
    room, channel = await _room(s, alice, "bob")
    place, hers = await s.subscribed(bob, channel), await s.subscribed(alice, channel)
    await _call(s, alice, "member.ban", {"room": room, "user": s.user("bob")})
    event = await s.until(lambda: place.log.last("unsubscribed"), "bob is out")
    s.equal(event.code, 2000, f"code ({event.reason})")
    await _say(s, hers, "he is gone")
    await s.until(lambda: len(_offsets(hers)) == 2, "alice goes on")
    await s.settled(bob)
    heard = [data for data in s.received(place.log) if data["type"] == "message"]
    s.equal((place.state.value, heard), ("unsubscribed", []), "state, heard")
    s.equal(len(place.log.all("subscribing")), 1, "subscribes")
    await place.subscribe()
    await s.until(lambda: len(place.log.all("unsubscribed")) == 2, "he stays out")
    event = place.log.last("unsubscribed")
    s.equal((event.code, event.reason), (403, "you are banned from this room"), "why")
    message = s.encode({"type": "message", "body": "let me in"})
    await _refused(s, bob.publish(channel, message), 403, "you are banned from this room")
    s.equal(len(bob.log.all("connected")), 1, "connects")


async def errors_come_with_their_code_and_words(s):
    alice, eve = await s.connected("alice"), await s.connected("eve")
    room, channel = await _room(s, alice)
    nowhere, stranger = {"room": str(uuid.uuid4())}, "you are not a member of this room"
    await _refused(s, _call(s, alice, "room.get", nowhere), 404, "no such room")
    await _refused(s, _call(s, eve, "room.get", {"room": room}), 103, stranger)
    await _refused(s, _call(s, alice, "room.create", {}), 400, "name is missing")
    await _refused(s, _call(s, alice, "room.sing", {}), 108, "not available")
    for data, code, message in [
        ({"type": "message", "body": " "}, 400, "body has nothing that can be seen"),
        ({"type": "message", "body": "x" * 8193}, 413, "body is larger than 8192 bytes"),
        ({"type": "edit"}, 400, "this is done with the rpc message.edit"),
    ]:
        await _refused(s, alice.publish(channel, s.encode(data)), code, message)
    message = s.encode({"type": "message", "body": "hi"})
    await _refused(s, eve.publish(channel, message), 103, stranger)


async def the_feed_is_recovered_after_a_cut(s):
    alice, bob = await s.connected("alice"), await s.connected("bob", through="rooms")
    feed = f"user:{s.user('bob')}"
    rooms = [(await _room(s, alice, "bob"))[0]]
    await s.until(lambda: len(s.received(bob.log, feed)) == 1, "the first room")

    async def meanwhile():
        for _ in range(3):
            rooms.append((await _room(s, alice, "bob"))[0])

    await _away(s, bob, meanwhile)
    await s.until(lambda: len(s.received(bob.log, feed)) == 4, "all of them")
    s.equal([event["room"] for event in s.received(bob.log, feed)], rooms, "rooms")
    event = bob.log.all("subscribed", feed)[-1]
    s.equal((event.was_recovering, event.recovered), (True, True), "was_recovering, recovered")
