"""Tokens end: connection and subscription tokens are refreshed before and after they expired."""

from centrifuge import UnauthorizedError

_TTL = 2


async def a_connection_token_is_refreshed_and_the_connection_stays(s):
    refreshes = []

    async def get_token():
        refreshes.append(True)
        return await s.token("alice", ttl=_TTL if len(refreshes) == 1 else 3600)

    token = await s.token("alice", ttl=_TTL)
    client = await s.connected("alice", token=token, get_token=get_token)
    # The second refresh shows that the first was accepted after the first token's end.
    await _fetched(s, client, refreshes, 2)
    await s.settled(client)
    s.equal(len(client.log.all("connected")), 1, "connects")
    s.equal(client.log.all("error"), [], "errors")


async def _fetched(s, client, fetches, count):
    await s.until(lambda: len(fetches) >= count or client.log.last("disconnected"), "refreshes")
    s.equal(len(fetches), count, "refreshes")


async def a_token_that_expired_before_connecting_is_fetched_anew(s):
    async def get_token():
        return await s.token("alice")

    client = s.client(token=await s.token("alice", ttl=-3600), get_token=get_token)
    await client.connect()
    await s.until(lambda: client.log.last("connected"), "connected")
    s.equal([event.error.code for event in client.log.all("error")], [109], "errors")


async def a_token_that_expired_and_cannot_be_fetched_ends_the_client(s):
    client = s.client(token=await s.token("alice", ttl=-3600))
    await client.connect()
    event = await s.until(lambda: client.log.last("disconnected"), "the client gives up")
    s.equal((event.code, event.reason), (1, "unauthorized"), "code and reason")


async def a_client_whose_token_is_not_renewed_is_unauthorized(s):
    async def get_token():
        raise UnauthorizedError("no more")

    token = await s.token("alice", ttl=_TTL)
    client = await s.connected("alice", token=token, get_token=get_token)
    event = await s.until(lambda: client.log.last("disconnected"), "the client gives up")
    s.equal((event.code, event.reason), (1, "unauthorized"), "code and reason")


async def a_refresh_with_a_bad_token_ends_the_client_with_3500(s):
    async def get_token():
        return await s.token("alice", key="another")

    token = await s.token("alice", ttl=_TTL)
    client = await s.connected("alice", token=token, get_token=get_token)
    event = await s.until(lambda: client.log.last("disconnected"), "the client gives up")
    s.equal(event.code, 3500, f"code ({event.reason})")


async def a_subscription_token_is_refreshed_and_the_subscription_stays(s):
    channel, fetches = s.channel("private"), []

    async def get_token(_channel):
        fetches.append(True)
        return await s.token("alice", channel=channel, ttl=_TTL if len(fetches) < 3 else 3600)

    client = await s.connected("alice")
    subscription = await s.subscribed(client, channel, get_token=get_token)
    await _fetched(s, client, fetches, 3)
    await subscription.publish(s.encode("still here"))
    await s.until(lambda: subscription.log.last("publication"), "publication")
    s.equal(len(subscription.log.all("subscribed")), 1, "subscribes")


async def a_subscription_token_that_expired_before_subscribing_is_fetched_anew(s):
    channel = s.channel("private")

    async def get_token(_channel):
        return await s.token("alice", channel=channel)

    client = await s.connected("alice")
    token = await s.token("alice", channel=channel, ttl=-3600)
    subscription = await s.subscribed(client, channel, token=token, get_token=get_token)
    s.equal([event.error.code for event in subscription.log.all("error")], [109], "errors")


async def a_subscription_refresh_with_a_bad_token_ends_the_subscription_with_103(s):
    channel, fetches = s.channel("private"), []

    async def get_token(_channel):
        fetches.append(True)
        bad = {"ttl": _TTL} if len(fetches) == 1 else {"key": "another"}
        return await s.token("alice", channel=channel, **bad)

    client = await s.connected("alice")
    subscription = await s.subscribed(client, channel, get_token=get_token)
    event = await s.until(lambda: subscription.log.last("unsubscribed"), "unsubscribed")
    s.equal(event.code, 103, f"code ({event.reason})")
    await s.settled(client)
