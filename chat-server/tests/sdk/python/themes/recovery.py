"""What was published while a client was away arrives on its return, or it learns that it did not.
"""

from centrifuge import StreamPosition


async def _away(s, client, channel, values):
    """Cuts the way of `client`, publishes `values` meanwhile, and lets it return."""
    connects = len(client.log.all("connected"))
    await s.ask("cut", proxy="recovery")
    await s.until(lambda: client.state.value == "connecting", "the client notices the cut")
    for value in values:
        await s.ask("publish", channel=channel, data=value)
    await s.ask("restore", proxy="recovery")
    await s.until(lambda: len(client.log.all("connected")) == connects + 1, "connects again")


async def _resubscribed(s, subscription):
    await s.until(lambda: len(subscription.log.all("subscribed")) == 2, "subscribed again")
    event = subscription.log.last("subscribed")
    s.ok(event.was_recovering, "was_recovering")
    return event


async def _subscriber(s, channel):
    client = await s.connected("alice", through="recovery")
    subscription = await s.subscribed(client, channel)
    await client.publish(channel, s.encode("before"))
    await s.until(lambda: subscription.log.last("publication"), "the first publication")
    return client, subscription


async def publications_made_while_away_arrive_in_order(s):
    channel = s.channel()
    client, subscription = await _subscriber(s, channel)
    await _away(s, client, channel, ["one", "two", "three"])
    s.ok((await _resubscribed(s, subscription)).recovered, "recovered")
    await s.ask("publish", channel=channel, data="after")
    await s.until(lambda: len(subscription.log.all("publication")) >= 5, "everything")
    expected = ["before", "one", "two", "three", "after"]
    s.equal(s.received(subscription.log), expected, "payloads")
    offsets = [entry.pub.offset for entry in subscription.log.all("publication")]
    s.equal(offsets, [1, 2, 3, 4, 5], "offsets")


async def hundreds_of_publications_arrive_in_order_before_and_while_others_are_made(s):
    channel = s.channel("long")

    async def burst(first, last):
        await s.ask("burst", channel=channel, **{"from": first, "to": last, "padding": 300})

    client = await s.connected("alice", through="recovery")
    subscription = await s.subscribed(client, channel)
    await burst(1, 1)
    await s.until(lambda: subscription.log.last("publication"), "the first publication")
    await s.ask("cut", proxy="recovery")
    await s.until(lambda: client.state.value == "connecting", "the client notices the cut")
    await burst(2, 700)
    await s.ask("restore", proxy="recovery")
    for first in range(701, 1000, 10):
        await burst(first, first + 9)
    s.ok((await _resubscribed(s, subscription)).recovered, "recovered")
    log, expected = subscription.log, list(range(1, 1001))
    await s.until(lambda: len(log.all("publication")) >= 1000, "everything")
    s.equal([data["n"] for data in s.received(log)], expected, "payloads")
    s.equal([entry.pub.offset for entry in log.all("publication")], expected, "offsets")


async def a_client_that_missed_nothing_recovers_nothing(s):
    channel = s.channel()
    client, subscription = await _subscriber(s, channel)
    await _away(s, client, channel, [])
    s.ok((await _resubscribed(s, subscription)).recovered, "recovered")
    await client.publish(channel, s.encode("after"))
    await s.until(lambda: len(subscription.log.all("publication")) >= 2, "the next publication")
    s.equal(s.received(subscription.log), ["before", "after"], "payloads")


async def a_client_away_for_longer_than_history_reaches_is_told(s):
    channel = s.channel("short")
    client, subscription = await _subscriber(s, channel)
    await _away(s, client, channel, [1, 2, 3, 4, 5])
    event = await _resubscribed(s, subscription)
    s.equal((event.recovered, event.stream_position.offset), (False, 6), "recovered, offset")
    await s.ask("publish", channel=channel, data=6)
    await s.until(lambda: len(subscription.log.all("publication")) >= 2, "the next publication")
    s.equal(s.received(subscription.log), ["before", 6], "no partial recovery")


async def state_is_loaded_again_when_its_position_is_unrecoverable(s):
    channel, positions = s.channel(), []
    for data in (1, 2):
        await s.ask("publish", channel=channel, data=data)
    client = await s.connected()
    epoch = (await client.history(channel)).epoch

    async def get_state(_channel):
        positions.append(StreamPosition(1, epoch if positions else "another-life"))
        return positions[-1]

    subscription = await s.subscribed(client, channel, get_state=get_state)
    s.equal(len(positions), 2, "loads")
    await s.until(lambda: subscription.log.last("publication"), "what the state lacks")
    s.equal(s.received(subscription.log), [2], "payloads")


async def the_feed_of_a_user_recovers_too(s):
    client = await s.connected("alice", through="recovery")
    channel = f"user:{s.user('alice')}"
    await s.until(lambda: client.log.last("subscribed"), "the feed is subscribed")
    await _away(s, client, channel, ["one", "two"])
    await s.until(lambda: len(client.log.all("publication")) >= 2, "publications")
    s.equal(s.received(client.log, channel), ["one", "two"], "payloads")
    event = client.log.last("subscribed")
    s.equal((event.was_recovering, event.recovered), (True, True), "was_recovering, recovered")
