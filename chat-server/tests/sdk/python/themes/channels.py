"""Subscribing, publishing, receiving, presence, joins and leaves, and being refused."""

_AWKWARD = {
    "text": 'line\nbreak \u2028 "quotes" \\ ☕ 𝄞',
    "nested": [None, True, 1.5, {"a": []}],
}


async def _unsubscribed(s, subscription, code):
    await subscription.subscribe()
    event = await s.until(lambda: subscription.log.last("unsubscribed"), "unsubscribed")
    s.equal(event.code, code, f"unsubscribe code ({event.reason})")


async def a_publication_reaches_every_subscriber_and_its_sender(s):
    channel = s.channel()
    alice, bob = await s.connected("alice"), await s.connected("bob")
    ours, theirs = await s.subscribed(alice, channel), await s.subscribed(bob, channel)
    await ours.publish(s.encode({"hello": 1}))
    await bob.publish(channel, s.encode({"hello": 2}))
    for log in (ours.log, theirs.log):
        await s.until(lambda: len(log.all("publication")) == 2, "both publications arrive")
        s.equal(s.received(log), [{"hello": 1}, {"hello": 2}], "payloads in order")
        s.equal([entry.pub.offset for entry in log.all("publication")], [1, 2], "offsets")
        s.equal(log.all("publication")[0].pub.info.user, s.user("alice"), "the sender is named")


async def any_json_value_survives_the_way(s):
    client = await s.connected(None)
    subscription = await s.subscribed(client, s.channel())
    values = [_AWKWARD, "text", 42, [], {}, {"long": "x" * 6000}]
    for value in values:
        await subscription.publish(s.encode(value))
    await s.until(lambda: len(subscription.log.all("publication")) == len(values), "all")
    s.equal(s.received(subscription.log), values, "payloads")


async def after_unsubscribing_nothing_arrives_and_subscribing_again_works(s):
    channel = s.channel("plain")
    client, other = await s.connected("alice"), await s.connected("bob")
    subscription = await s.subscribed(client, channel)
    await subscription.unsubscribe()
    await s.settled(client)
    await other.publish(channel, s.encode("unseen"))
    await subscription.subscribe()
    await s.until(lambda: len(subscription.log.all("subscribed")) == 2, "subscribed again")
    await other.publish(channel, s.encode("seen"))
    await s.until(lambda: subscription.log.last("publication"), "publication")
    s.equal(s.received(subscription.log), ["seen"], "payloads")


async def a_subscription_token_opens_a_channel_that_needs_one(s):
    channel = s.channel("private")

    async def get_token(asked):
        return await s.token("alice", channel=asked)

    client = await s.connected("alice")
    subscription = await s.subscribed(client, channel, get_token=get_token)
    await subscription.publish(s.encode("inside"))
    await s.until(lambda: subscription.log.last("publication"), "publication")


async def a_channel_that_needs_a_token_refuses_without_one(s):
    client = await s.connected()
    await _unsubscribed(s, s.subscription(client, s.channel("private")), 103)


async def a_subscription_token_for_another_channel_is_refused(s):
    client = await s.connected("alice")
    token = await s.token("alice", channel=s.channel("private"))
    await _unsubscribed(s, s.subscription(client, s.channel("private"), token=token), 103)


async def a_channel_that_allows_nothing_refuses_everything(s):
    client, watched = await s.connected(), s.channel("watched")
    await _unsubscribed(s, s.subscription(client, s.channel("closed")), 103)
    await s.subscribed(client, watched)
    await s.refused(client.publish(watched, s.encode(1)), 103, "publish")
    await s.refused(client.history(watched, limit=1), 103, "history")
    await s.refused(client.presence(watched), 103, "presence")
    await s.refused(client.presence_stats(watched), 103, "presence stats")


async def an_unknown_namespace_answers_102(s):
    client = await s.connected()
    await _unsubscribed(s, s.subscription(client, s.channel("nowhere")), 102)


async def presence_lists_and_counts_who_is_there(s):
    channel = s.channel()
    alice, bob = await s.connected("alice"), await s.connected("bob")
    again = await s.connected("alice")
    for client in (alice, bob, again):
        await s.subscribed(client, channel)
    users = {id: info.user for id, info in (await alice.presence(channel)).clients.items()}
    named = ((alice, "alice"), (bob, "bob"), (again, "alice"))
    expected = {client.log.last("connected").client: s.user(name) for client, name in named}
    s.equal(users, expected, "clients")
    stats = await alice.presence_stats(channel)
    s.equal((stats.num_clients, stats.num_users), (3, 2), "stats")


async def presence_of_a_channel_nobody_is_in_is_empty(s):
    client, channel = await s.connected(), s.channel()
    s.equal((await client.presence(channel)).clients, {}, "clients")
    stats = await client.presence_stats(channel)
    s.equal((stats.num_clients, stats.num_users), (0, 0), "stats")


async def joins_and_leaves_are_told(s):
    channel = s.channel()
    log = (await s.subscribed(await s.connected("alice"), channel)).log

    def users(name):
        return [e.info.user for e in log.all(name) if e.info.user != s.user("alice")]

    bob, carol = await s.connected("bob"), await s.connected("carol")
    subscription = await s.subscribed(bob, channel)
    await s.until(lambda: users("join") == [s.user("bob")], "bob joins")
    await subscription.unsubscribe()
    await s.until(lambda: users("leave") == [s.user("bob")], "bob leaves by unsubscribing")
    await s.subscribed(carol, channel)
    await s.until(lambda: users("join")[1:] == [s.user("carol")], "carol joins")
    await carol.disconnect()
    await s.until(lambda: users("leave")[1:] == [s.user("carol")], "carol leaves")
