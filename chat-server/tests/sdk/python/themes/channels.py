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


async def a_subscription_token_of_another_user_or_key_is_refused(s):
    channel, client = s.channel("private"), await s.connected("alice")
    await _unsubscribed(
        s, s.subscription(client, channel, token=await s.token("bob", channel=channel)), 103)
    other = s.channel("private")
    forged = await s.token("alice", channel=other, key="another")
    await _unsubscribed(s, s.subscription(client, other, token=forged), 103)


async def an_anonymous_client_uses_a_subscription_token(s):
    channel, client = s.channel("private"), await s.connected(None)
    await s.subscribed(client, channel, token=await s.ask("token", channel=channel))


async def a_channel_without_history_has_publications_without_offset(s):
    client = await s.connected()
    subscription = await s.subscribed(client, s.channel("plain"))
    await subscription.publish(s.encode(1))
    event = await s.until(lambda: subscription.log.last("publication"), "publication")
    s.ok(not event.pub.offset, "offset")
    s.equal(subscription.log.last("subscribed").recoverable, False, "recoverable")


async def a_body_over_the_limit_is_refused_with_413(s):
    client = await s.connected()
    await s.refused(client.publish(s.channel(), s.encode("x" * 20000)), 413, "publish")
    await s.settled(client)


async def presence_and_history_where_none_is_kept_answer_108(s):
    client, channel = await s.connected(), s.channel("plain")
    await s.refused(client.presence(channel), 108, "presence")
    await s.refused(client.presence_stats(channel), 108, "presence stats")
    await s.refused(client.history(channel, limit=1), 108, "history")


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


async def joins_are_told_only_to_those_who_ask_where_they_are_not_forced(s):
    channel = s.channel("joins")
    alice, bob = await s.connected("alice"), await s.connected("bob")
    asks = await s.subscribed(alice, channel, join_leave=True)
    quiet = await s.subscribed(bob, channel)
    carol = await s.connected("carol")
    await s.subscribed(carol, channel)

    def joined():
        return s.user("carol") in [event.info.user for event in asks.log.all("join")]

    await s.until(joined, "the one who asked hears of carol")
    await carol.publish(channel, s.encode("after the join"))
    await s.until(lambda: quiet.log.last("publication"), "a publication after the join")
    s.equal(quiet.log.all("join"), [], "the other hears nothing")


async def a_leave_is_told_when_the_transport_is_cut(s):
    channel = s.channel()
    log = (await s.subscribed(await s.connected("alice"), channel)).log
    bob = await s.connected("bob", through="leaving")
    await s.subscribed(bob, channel)
    first = bob.log.last("connected").client

    def clients(name):
        return [e.info.client for e in log.all(name) if e.info.user == s.user("bob")]

    await s.ask("cut", proxy="leaving")
    await s.until(lambda: clients("leave") == [first], "bob leaves")
    await s.ask("restore", proxy="leaving")
    await s.until(lambda: len(clients("join")) == 2, "bob joins again")
    s.ok(clients("join")[1] != first, "as a new client")
