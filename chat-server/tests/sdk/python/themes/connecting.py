"""Who may connect, and what a connection can do before it subscribes to anything."""


async def _ends(s, client, code):
    event = await s.until(lambda: client.log.last("disconnected"), "the client gives up")
    s.equal(event.code, code, f"disconnect code ({event.reason})")


async def a_client_without_a_token_connects_anonymously(s):
    client = await s.connected(None)
    s.ok(client.log.last("connected").client, "the server names the client")


async def a_client_with_a_token_connects_as_its_user(s):
    client = await s.connected("alice")
    channel = s.channel()
    await s.subscribed(client, channel)
    clients = (await client.presence(channel)).clients
    s.equal([info.user for info in clients.values()], [s.user("alice")], "present")
    s.ok(client.log.last("connected").client in clients, "under the id the server gave")


async def a_token_signed_by_another_key_ends_the_client_with_3500(s):
    client = s.client(token=await s.token("alice", key="another"))
    await client.connect()
    await _ends(s, client, 3500)


async def a_token_that_is_no_token_ends_the_client_with_3500(s):
    client = s.client(token="no.token.this")
    await client.connect()
    await _ends(s, client, 3500)


async def an_unknown_rpc_method_answers_108(s):
    await s.settled(await s.connected())


async def a_client_disconnects_and_connects_again(s):
    client = await s.connected()
    first = client.log.last("connected").client
    await client.disconnect()
    await client.connect()
    await s.until(lambda: len(client.log.all("connected")) == 2, "connected again")
    s.ok(client.log.last("connected").client != first, "under a new id")
