"""What the checks share: SDK clients, waiting for a condition under a deadline, and questions to
the Rust harness. Knows the SDK, not the server.

Nothing here sleeps: every wait ends when an event of a client makes its condition true.
"""

import asyncio
import inspect
import json
import re
import sys
import traceback
from types import SimpleNamespace

from centrifuge import Client, ClientEventHandler, ReplyError, SubscriptionEventHandler

DEADLINE = 15.0
# A check that waits several times in a row still ends well before the Rust harness gives up.
CHECK_DEADLINE = 40.0


class Failure(Exception):
    """A check did not hold."""


class Log:
    """Everything a client or subscription said, in order."""

    def __init__(self, harness):
        self.harness = harness
        self.entries = []

    def add(self, name, ctx):
        self.entries.append(SimpleNamespace(name=name, **vars(ctx)))
        self.harness.changed()

    def all(self, name, channel=None):
        return [
            entry
            for entry in self.entries
            if entry.name == name and channel in (None, getattr(entry, "channel", None))
        ]

    def last(self, name):
        found = self.all(name)
        return found[-1] if found else None


def recorder(base, log):
    """An event handler of the SDK that writes every event into `log`."""

    def record(name):
        async def handler(_self, ctx):
            log.add(name.removeprefix("on_"), ctx)

        return handler

    names = [name for name in vars(base) if name.startswith("on_")]
    return type("Recorder", (base,), {name: record(name) for name in names})()


class Scene:
    """One check: its own users, its own channels, and clients that are gone when it ends."""

    def __init__(self, harness, name):
        self.harness = harness
        self.id = re.sub("[^a-z0-9]+", "-", f"py {name}")
        self.channels = 0
        self.clients = []

    def channel(self, namespace=None):
        """A name no other check uses, in a namespace or without one."""
        self.channels += 1
        name = f"{self.id}-{self.channels}"
        return f"{namespace}:{name}" if namespace else name

    def user(self, name="alice"):
        return f"{self.id}-{name}"

    async def token(self, user, **claims):
        return await self.ask("token", user=self.user(user), **claims)

    async def ask(self, act, **args):
        return await self.harness.ask(act, args)

    def client(self, through="direct", **options):
        """A client that has not been told to connect. `options` are the SDK's own."""
        log = Log(self.harness)
        client = Client(
            self.harness.config[through]["ws"] + "/connection/websocket",
            events=recorder(ClientEventHandler, log),
            use_protobuf=self.harness.form == "protobuf",
            # Real delays would only make the tests slow.
            min_reconnect_delay=0.02,
            max_reconnect_delay=0.2,
            proxy=None,
            **options,
        )
        client.log = log
        self.clients.append(client)
        return client

    async def connected(self, user="alice", through="direct", **options):
        """A connected client of `user`, or an anonymous one for `None`."""
        if user is not None:
            options = {"token": await self.token(user), **options}
        client = self.client(through, **options)
        await client.connect()
        await self.until(lambda: client.log.last("connected"), "the client connects")
        return client

    def subscription(self, client, channel, **options):
        log = Log(self.harness)
        subscription = client.new_subscription(
            channel, recorder(SubscriptionEventHandler, log), min_resubscribe_delay=0.02, **options
        )
        subscription.log = log
        return subscription

    async def subscribed(self, client, channel, **options):
        subscription = self.subscription(client, channel, **options)
        await subscription.subscribe()
        await self.until(lambda: subscription.log.last("subscribed"), f"{channel} is subscribed")
        return subscription

    def encode(self, value):
        """A payload as this format sends it."""
        return json.dumps(value).encode() if self.harness.form == "protobuf" else value

    def decode(self, data):
        return json.loads(data) if self.harness.form == "protobuf" else data

    def received(self, log, channel=None):
        """The payloads a log received, in order."""
        return [self.decode(entry.pub.data) for entry in log.all("publication", channel)]

    async def until(self, condition, what):
        return await self.harness.until(condition, what)

    def equal(self, actual, expected, what):
        if actual != expected:
            raise Failure(f"{what}: expected {expected!r}, got {actual!r}")

    def ok(self, condition, what):
        if not condition:
            raise Failure(what)

    async def refused(self, call, code, what):
        """The call must be answered with this error code."""
        try:
            await call
        except ReplyError as error:
            self.equal(error.code, code, f"{what}: error code ({error.message})")
            self.ok(error.message, f"{what}: the error has a message")
        else:
            raise Failure(f"{what}: was allowed")

    async def settled(self, client):
        """A command whose reply shows that the server has dealt with those before it."""
        await self.refused(client.rpc("no.such.method", self.encode({})), 108, "rpc")

    async def close(self):
        for client in self.clients:
            await client.disconnect()


class Harness:
    @staticmethod
    async def start(form):
        reader = asyncio.StreamReader(limit=1 << 20)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        harness = Harness(form, json.loads(await reader.readline()))
        harness.answers = asyncio.create_task(harness.read_answers(reader))
        return harness

    def __init__(self, form, config):
        self.form = form
        self.config = config
        self.failed = 0
        self.questions = {}
        self.last_question = 0
        self.waiting = set()

    async def until(self, condition, what):
        """Returns the first truthy value of `condition`, looked at whenever a client speaks or a
        question was answered."""
        wake = asyncio.Event()

        async def look():
            while not (value := condition()):
                await wake.wait()
                wake.clear()
            return value

        self.waiting.add(wake)
        try:
            return await asyncio.wait_for(look(), DEADLINE)
        except asyncio.TimeoutError:
            raise Failure(f"not within {DEADLINE} s: {what}") from None
        finally:
            self.waiting.discard(wake)

    def changed(self):
        """Looked at after the SDK finished with the event, so that its own state is settled."""
        asyncio.get_running_loop().call_soon(lambda: [wake.set() for wake in self.waiting])

    async def ask(self, act, args):
        self.last_question += 1
        number = self.last_question
        answer = asyncio.get_running_loop().create_future()
        self.questions[number] = answer
        print("ASK", json.dumps({"id": number, "act": act, **args}), flush=True)
        return await asyncio.wait_for(answer, DEADLINE)

    async def read_answers(self, reader):
        while line := await reader.readline():
            reply = json.loads(line)
            answer = self.questions.pop(reply["id"])
            if answer.done():
                continue
            if "error" in reply:
                answer.set_exception(Failure(f"the harness refused: {reply['error']}"))
            else:
                answer.set_result(reply.get("result"))
            self.changed()

    async def run(self, module, together):
        """Runs the checks of a theme, its public coroutines, one after the other, or `together`
        where they mostly wait.
        """
        theme = module.__name__.split(".")[-1]
        running = []
        for name, check in vars(module).items():
            if name.startswith("_") or not inspect.iscoroutinefunction(check):
                continue
            done = self.check(theme, name.replace("_", " "), check)
            if together:
                running.append(done)
            else:
                await done
        await asyncio.gather(*running)

    async def check(self, theme, name, check):
        title = f"{theme}: {name}"
        scene = Scene(self, title)
        try:
            await asyncio.wait_for(check(scene), CHECK_DEADLINE)
            print("ok", title, flush=True)
        except Failure as failure:
            self.report(title, str(failure))
        except Exception:
            self.report(title, traceback.format_exc())
        finally:
            await scene.close()

    def report(self, title, why):
        self.failed += 1
        print(f"FAIL {title}: {why}".replace("\n", " | "), flush=True)
