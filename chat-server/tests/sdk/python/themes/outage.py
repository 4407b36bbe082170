"""While the store does not answer: everything says so and is tried again, and nothing is doubled.

Not among the themes of every run: it takes a server whose store can be held.
"""

import uuid
from contextlib import asynccontextmanager

from centrifuge import ReplyError

_AWAY = 503


@asynccontextmanager
async def _held(s):
    await s.ask("hold")
    try:
        yield
    finally:
        await s.ask("release")


async def _room(s, alice, *members):
    data = {"name": "The band", "members": [s.user(name) for name in members]}
    return s.decode((await alice.rpc("room.create", s.encode(data))).data)["channel"]


async def subscribing_to_a_room_is_tried_again_until_it_succeeds(s):
    alice, bob = await s.connected("alice"), await s.connected("bob")
    place = s.subscription(bob, await _room(s, alice, "bob"))
    async with _held(s):
        await place.subscribe()
        event = await s.until(lambda: place.log.last("error"), "the first refusal")
        s.equal(event.error.code, _AWAY, f"code ({event.error})")
        s.equal(place.state.value, "subscribing", "state")
    await s.until(lambda: place.log.last("subscribed"), "subscribed after all")
    s.equal(len(bob.log.all("connected")), 1, "connects")


async def a_message_that_nobody_can_say_about_is_sent_again_and_is_there_once(s):
    alice = await s.connected("alice")
    place = await s.subscribed(alice, await _room(s, alice))
    message = s.encode({"type": "message", "body": "hello", "idem": str(uuid.uuid4())})
    async with _held(s):
        await s.refused(place.publish(message), _AWAY, "publish")
    while True:
        # The SDK leaves that to the program.
        try:
            await place.publish(message)
            break
        except ReplyError as error:
            s.equal((error.code, error.temporary), (_AWAY, True), "nothing but the store")
    await s.until(lambda: place.log.last("publication"), "it is heard")
    s.equal((await place.history(limit=10)).offset, 2, "the newest offset")


async def who_connects_with_a_token_is_let_in_when_the_feed_can_be_read(s):
    client = s.client(token=await s.token("carol"))
    async with _held(s):
        await client.connect()
        event = await s.until(lambda: client.log.last("error"), "the first refusal")
        s.equal(event.error.code, _AWAY, f"code ({event.error})")
        s.equal(client.state.value, "connecting", "state")
    await s.until(lambda: client.log.last("connected"), "connected after all")
