"""What the server does on its own: subscriptions it makes and ends, messages, refreshes."""


async def _feed(s):
    client = await s.connected("alice")
    channel = f"user:{s.user('alice')}"
    await s.until(lambda: client.log.all("subscribed", channel), "the feed is subscribed")
    return client, channel


async def a_user_is_subscribed_to_the_own_feed(s):
    client, channel = await _feed(s)
    s.ok(client.log.last("subscribed").recoverable, "recoverable")
    for number in (1, 2):
        await s.ask("publish", channel=channel, data={"unread": number})
    await s.until(lambda: len(client.log.all("publication")) >= 2, "publications")
    s.equal(s.received(client.log, channel), [{"unread": 1}, {"unread": 2}], "payloads")


async def the_server_subscribes_and_unsubscribes_a_connected_user(s):
    client, _ = await _feed(s)
    user, channel = s.user("alice"), s.channel()
    await s.ask("subscribe", user=user, channel=channel)
    await s.until(lambda: client.log.all("subscribed", channel), "subscribed")
    await s.ask("publish", channel=channel, data="pushed")
    await s.until(lambda: client.log.all("publication", channel), "publication")
    s.equal(s.received(client.log, channel), ["pushed"], "payload")
    await s.ask("unsubscribe", user=user, channel=channel, code=2000)
    await s.until(lambda: client.log.all("unsubscribed", channel), "unsubscribed")
    await s.ask("publish", channel=channel, data="unseen")
    await s.settled(client)
    s.equal(s.received(client.log, channel), ["pushed"], "payloads")


async def pushes_the_sdk_does_not_know_do_no_harm(s):
    client = await s.connected("alice", token=await s.token("alice", ttl=3600))
    await s.ask("send", user=s.user("alice"), data={"note": "hello"})
    await s.ask("refresh", user=s.user("alice"), ttl=7200)
    await s.settled(client)
    s.equal(len(client.log.all("connected")), 1, "connects")
    s.equal(client.log.all("error"), [], "errors")
