"""Who may connect, and what a connection can do before it subscribes to anything."""

from centrifuge import UnauthorizedError


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


async def where_a_token_is_needed_a_client_without_one_is_unauthorized(s):
    client = s.client("strict")
    await client.connect()
    await _ends(s, client, 101)


async def where_a_token_is_needed_a_client_that_fetches_one_connects(s):
    async def get_token():
        return await s.token("alice")

    client = s.client("strict", get_token=get_token)
    await client.connect()
    await s.until(lambda: client.log.last("connected"), "connected")


async def a_client_that_may_not_have_a_token_is_unauthorized(s):
    async def get_token():
        raise UnauthorizedError("not you")

    client = s.client(get_token=get_token)
    await client.connect()
    await _ends(s, client, 1)


async def a_token_that_is_not_valid_yet_ends_the_client_with_3500(s):
    client = s.client(token=await s.token("alice", nbf=3600))
    await client.connect()
    await _ends(s, client, 3500)


async def the_name_in_a_token_is_shown_to_others(s):
    channel = s.channel()
    client = await s.connected("alice", token=await s.token("alice", name="Ann"))
    log = (await s.subscribed(client, channel)).log
    await client.publish(channel, s.encode(1))
    event = await s.until(lambda: log.last("publication"), "publication")
    s.equal(s.decode(event.pub.info.conn_info), {"name": "Ann"}, "with a publication")
    [present] = (await client.presence(channel)).clients.values()
    s.equal(s.decode(present.conn_info), {"name": "Ann"}, "in the presence")


async def a_user_has_ten_connections_and_one_more_when_one_of_them_ends(s):
    clients = [await s.connected("alice") for _ in range(10)]
    over = s.client(token=await s.token("alice"))
    await over.connect()
    await s.settled(clients[0])
    s.ok(all(client.state.value == "connected" for client in clients), "the ten stay")
    s.equal(over.state.value, "connecting", "the eleventh")
    await clients[0].disconnect()
    await s.until(lambda: over.log.all("connected"), "the eleventh is let in by itself")
    s.ok(all(client.state.value == "connected" for client in clients[1:]), "the others stay")


async def an_unknown_rpc_method_answers_108(s):
    await s.settled(await s.connected())


async def a_client_disconnects_and_connects_again(s):
    client = await s.connected()
    first = client.log.last("connected").client
    await client.disconnect()
    await client.connect()
    await s.until(lambda: len(client.log.all("connected")) == 2, "connected again")
    s.ok(client.log.last("connected").client != first, "under a new id")
