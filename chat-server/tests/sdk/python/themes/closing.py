"""Every disconnect and unsubscribe code is obeyed: come back, or stay away."""

import asyncio

_COME_BACK = [3001, 3004, 3005, 3008, 3010, 3011, 3012, 3013, 3014, 4000, 4001, 4002]
_STAY_AWAY = [3500, 3501, 3502, 3503, 3505, 3507, 3509, 4500, 4501]


async def _comes_back(s, code):
    async def get_token():
        return await s.token("alice")

    client = await s.connected("alice", get_token=get_token)
    subscription = await s.subscribed(client, s.channel())
    await s.ask("disconnect", user=s.user("alice"), code=code)
    await s.until(lambda: len(subscription.log.all("subscribed")) == 2, "subscribed again")
    event = client.log.last("connecting")
    s.equal(event.code, code, "connecting code")
    s.ok(event.reason, "a reason is given")
    s.equal(client.log.all("disconnected"), [], "disconnects")
    await client.disconnect()


async def _stays_away(s, code):
    client = await s.connected("alice")
    await s.ask("disconnect", user=s.user("alice"), code=code)
    event = await s.until(lambda: client.log.last("disconnected"), "disconnected")
    s.equal(event.code, code, "code")
    s.ok(event.reason, "a reason is given")
    s.equal(len(client.log.all("connected")), 1, "connects")


async def clients_closed_with_a_code_below_a_terminal_range_come_back(s):
    for code in _COME_BACK:
        await _comes_back(s, code)


async def clients_closed_with_a_terminal_code_stay_away(s):
    for code in _STAY_AWAY:
        await _stays_away(s, code)


async def a_server_that_goes_away_says_so(s):
    client = await s.connected("alice", through="passing")
    await s.subscribed(client, s.channel())
    await s.ask("stop")
    event = await s.until(
        lambda: next((e for e in client.log.all("connecting") if e.code > 100), None), "goodbye")
    s.equal((event.code, event.reason), (3001, "shutdown"), "code and reason")
    s.equal(client.log.all("disconnected"), [], "disconnects")


async def an_idle_client_answers_pings_and_stays(s):
    refreshes = []

    async def get_token():
        refreshes.append(True)
        return await s.token("alice")

    # Longer than the server waits for a ping and its pong together.
    token = await s.token("alice", ttl=8)
    client = await s.connected("alice", through="strict", token=token, get_token=get_token)
    await s.until(lambda: refreshes or len(client.log.all("connecting")) > 1, "a refresh")
    await s.settled(client)
    s.equal(len(client.log.all("connected")), 1, "connects")


async def a_frame_over_64_kib_is_not_taken(s):
    client, channel = await s.connected(), s.channel()
    publishing = asyncio.ensure_future(client.publish(channel, s.encode("x" * 70000)))
    event = await s.until(
        lambda: next((e for e in client.log.all("connecting") if e.code > 0), None), "closed")
    s.equal(event.code, 3, f"code ({event.reason})")
    await s.until(lambda: len(client.log.all("connected")) == 2, "connected again")
    s.equal((await client.history(channel)).offset, 0, "offset")
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)


async def a_subscription_ended_with_2000_stays_ended(s):
    channel, client = s.channel(), await s.connected("alice")
    subscription = await s.subscribed(client, channel)
    await s.ask("unsubscribe", user=s.user("alice"), channel=channel, code=2000)
    event = await s.until(lambda: subscription.log.last("unsubscribed"), "unsubscribed")
    s.equal(event.code, 2000, "code")
    s.ok(event.reason, "a reason is given")
    await client.publish(channel, s.encode("unseen"))
    s.equal(s.received(subscription.log), [], "publications")


async def a_subscription_ended_from_2500_is_subscribed_again(s):
    channel, client = s.channel(), await s.connected("alice")
    subscription = await s.subscribed(client, channel)
    for count, code in enumerate([2500, 2501, 2502], start=2):
        await s.ask("unsubscribe", user=s.user("alice"), channel=channel, code=code)
        await s.until(lambda: len(subscription.log.all("subscribed")) == count, "subscribed again")
        s.equal(subscription.log.last("subscribing").code, code, "subscribing code")
    await s.ask("publish", channel=channel, data="seen")
    await s.until(lambda: subscription.log.last("publication"), "publication")
    s.equal(s.received(subscription.log), ["seen"], "payloads")
