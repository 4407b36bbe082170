"""A hundred connects, a hundred subscribes, and as many channels at once as there may be."""

_CHANNELS_MAX = 128


async def a_hundred_connects_one_after_the_other(s):
    client = s.client(token=await s.token("alice"))
    for number in range(1, 101):
        await client.connect()
        await s.until(lambda: len(client.log.all("connected")) == number, f"connect {number}")
        await client.disconnect()
    s.equal(len({event.client for event in client.log.all("connected")}), 100, "different ids")
    s.equal(client.log.all("error"), [], "errors")


async def a_hundred_subscribes_one_after_the_other(s):
    client = await s.connected()
    subscription = s.subscription(client, s.channel())
    for number in range(1, 101):
        await subscription.subscribe()
        done = f"subscribe {number}"
        await s.until(lambda: len(subscription.log.all("subscribed")) == number, done)
        await subscription.unsubscribe()
    s.equal(subscription.log.all("error"), [], "errors")
    s.equal(len(client.log.all("connected")), 1, "connects")


async def a_connection_holds_128_channels_and_no_more(s):
    # Anonymous, so that no server-side subscription takes one of the places.
    client = s.client()
    subscriptions = [s.subscription(client, s.channel()) for _ in range(_CHANNELS_MAX)]
    for subscription in subscriptions:
        await subscription.subscribe()
    await client.connect()
    everyone = [subscription.log for subscription in subscriptions]
    await s.until(lambda: all(log.last("subscribed") for log in everyone), "all of them")
    over = s.subscription(client, s.channel())
    await over.subscribe()
    event = await s.until(lambda: over.log.last("unsubscribed"), "one more is refused")
    s.equal(event.code, 106, f"code ({event.reason})")
    await subscriptions[0].publish(s.encode("still here"))
    await s.until(lambda: everyone[0].last("publication"), "the others go on")
