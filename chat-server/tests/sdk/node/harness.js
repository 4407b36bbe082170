'use strict';
// What the checks share: SDK clients of the chosen transport and format, waiting for a condition
// under a deadline, and questions to the Rust harness. Knows the SDK, not the server.
//
// Nothing here sleeps: every wait ends when an event of a client makes its condition true.

const readline = require('node:readline');
const util = require('node:util');
const WebSocket = require('ws');
const { EventSource } = require('eventsource');

const DEADLINE_MS = 15000;
// A check that waits several times in a row still ends well before the Rust harness gives up.
const CHECK_MS = 40000;

const CLIENT_EVENTS = [
  'connecting', 'connected', 'disconnected', 'error', 'message', 'subscribed', 'subscribing',
  'unsubscribed', 'publication', 'join', 'leave',
];
const SUBSCRIPTION_EVENTS = [
  'subscribing', 'subscribed', 'unsubscribed', 'publication', 'join', 'leave', 'error',
];

class Failure extends Error {}

/** Everything an emitter said, in order. */
class Log {
  constructor(harness, emitter, names) {
    this.entries = [];
    for (const name of names) {
      emitter.on(name, (context) => {
        this.entries.push({ name, ...context });
        harness.changed();
      });
    }
  }

  all(name) {
    return this.entries.filter((entry) => entry.name === name);
  }

  last(name) {
    return this.all(name).at(-1);
  }
}

/** One check: its own user, its own channels, and clients that are gone when it ends. */
class Scene {
  constructor(harness, name) {
    this.harness = harness;
    this.id = name.replace(/[^a-z0-9]+/g, '-');
    this.count = 0;
    this.clients = [];
  }

  /** A name no other check uses, in a namespace or without one. */
  channel(namespace) {
    this.count += 1;
    const name = `${this.id}-${this.count}`;
    return namespace ? `${namespace}:${name}` : name;
  }

  user(name = 'alice') {
    return `${this.id}-${name}`;
  }

  token(user, claims = {}) {
    return this.ask('token', { user: this.user(user), ...claims });
  }

  ask(act, args = {}) {
    return this.harness.ask(act, args);
  }

  /** A client that has not been told to connect. `options` are the SDK's own. */
  client(options = {}, through = 'direct') {
    const client = this.harness.client(options, through);
    client.log = new Log(this.harness, client, CLIENT_EVENTS);
    this.clients.push(client);
    return client;
  }

  /** A connected client of `user`, or an anonymous one for `null`. */
  async connected(user = 'alice', options = {}, through = 'direct') {
    const token = user === null ? {} : { token: await this.token(user) };
    const client = this.client({ ...token, ...options }, through);
    client.connect();
    await this.until(() => client.log.last('connected'), 'the client connects');
    return client;
  }

  subscription(client, channel, options = {}) {
    const subscription = client.newSubscription(channel, options);
    subscription.log = new Log(this.harness, subscription, SUBSCRIPTION_EVENTS);
    return subscription;
  }

  async subscribed(client, channel, options = {}) {
    const subscription = this.subscription(client, channel, options);
    subscription.subscribe();
    await this.until(() => subscription.state === 'subscribed', `${channel} is subscribed`);
    return subscription;
  }

  /** A payload as this format sends it. */
  encode(value) {
    return this.harness.encode(value);
  }

  decode(data) {
    return this.harness.decode(data);
  }

  /** The payloads a log received, in order. */
  received(log, channel) {
    return log.all('publication')
      .filter((pub) => channel === undefined || pub.channel === channel)
      .map((pub) => this.decode(pub.data));
  }

  until(condition, what) {
    return this.harness.until(condition, what);
  }

  equal(actual, expected, what) {
    if (!util.isDeepStrictEqual(actual, expected)) {
      const show = (value) => util.inspect(value, { depth: 6, breakLength: Infinity });
      throw new Failure(`${what}: expected ${show(expected)}, got ${show(actual)}`);
    }
  }

  ok(condition, what) {
    if (!condition) throw new Failure(what);
  }

  /**
   * Runs `act` and a command whose reply shows that the server has dealt with what `act` sent.
   * They go out in one frame: separate requests of an emulated transport are not in order.
   */
  async settled(client, act = () => {}) {
    client.startBatching();
    act();
    const reply = this.refused(client.rpc('no.such.method', this.encode({})), 108, 'rpc');
    client.stopBatching();
    await reply;
  }

  /** The promise must reject with this error code. */
  async refused(promise, code, what) {
    let error;
    try {
      await promise;
    } catch (caught) {
      error = caught;
    }
    if (error === undefined) throw new Failure(`${what}: was allowed`);
    this.equal(error.code, code, `${what}: error code (${error.message})`);
  }

  close() {
    for (const client of this.clients) client.disconnect();
  }
}

class Harness {
  static async start(transport, format) {
    const lines = readline.createInterface({ input: process.stdin });
    const harness = new Harness(transport, format);
    await new Promise((resolve) => {
      lines.on('line', (line) => {
        if (harness.config === undefined) {
          harness.config = JSON.parse(line);
          resolve();
        } else {
          harness.answered(JSON.parse(line));
        }
      });
    });
    return harness;
  }

  constructor(transport, format) {
    this.transport = transport;
    this.format = format;
    this.failed = 0;
    this.config = undefined;
    this.questions = new Map();
    this.lastQuestion = 0;
    this.waiting = new Set();
    const build = format === 'protobuf' ? 'centrifuge/build/protobuf' : 'centrifuge';
    this.Centrifuge = require(build).Centrifuge;
    this.UnauthorizedError = require(build).UnauthorizedError;
  }

  /** `through` names a server, or a way to it, of the configuration. */
  client(options, through) {
    const address = this.config[through];
    const sent = { frames: 0, more: () => this.changed() };
    const shared = {
      // Real delays would only make the tests slow.
      minReconnectDelay: 20,
      maxReconnectDelay: 200,
      emulationEndpoint: `${address.http}/emulation`,
      websocket: countingWebSocket(sent),
      eventsource: EventSource,
      fetch: countingFetch(sent),
      ...options,
    };
    const endpoint = {
      websocket: `${address.ws}/connection/websocket`,
      sse: [{ transport: 'sse', endpoint: `${address.http}/connection/sse` }],
      http_stream: [
        { transport: 'http_stream', endpoint: `${address.http}/connection/http_stream` },
      ],
    }[this.transport];
    const client = new this.Centrifuge(endpoint, shared);
    client.sent = sent;
    return client;
  }

  encode(value) {
    const text = JSON.stringify(value);
    return this.format === 'protobuf' ? new Uint8Array(Buffer.from(text)) : value;
  }

  decode(data) {
    return this.format === 'protobuf' ? JSON.parse(Buffer.from(data).toString()) : data;
  }

  /**
   * Resolves with the first truthy value of `condition`, looked at whenever a client speaks or
   * sends, or a question was answered.
   */
  until(condition, what) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const value = condition();
        if (!value) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(value);
      };
      const timer = setTimeout(() => {
        this.waiting.delete(look);
        reject(new Failure(`not within ${DEADLINE_MS} ms: ${what}`));
      }, DEADLINE_MS);
      this.waiting.add(look);
      look();
    });
  }

  /** Looked at after the SDK finished with the event, so that its own state is settled. */
  changed() {
    setImmediate(() => {
      for (const look of [...this.waiting]) look();
    });
  }

  ask(act, args) {
    this.lastQuestion += 1;
    const id = this.lastQuestion;
    process.stdout.write(`ASK ${JSON.stringify({ id, act, ...args })}\n`);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Failure(`no answer to ${act} within ${DEADLINE_MS} ms`)),
        DEADLINE_MS,
      );
      this.questions.set(id, { resolve, reject, timer });
    });
  }

  answered({ id, result, error }) {
    const question = this.questions.get(id);
    this.questions.delete(id);
    clearTimeout(question.timer);
    if (error === undefined) question.resolve(result);
    else question.reject(new Failure(`the harness refused: ${error}`));
    this.changed();
  }

  /** Runs the checks of a theme one after the other, or `together` where they mostly wait. */
  async run(theme, checks, together) {
    const running = [];
    for (const [name, check] of Object.entries(checks)) {
      const done = this.check(theme, name, check);
      if (together) running.push(done);
      else await done;
    }
    await Promise.all(running);
  }

  async check(theme, name, check) {
    const scene = new Scene(this, `${theme} ${name}`);
    try {
      await limited(check(scene));
      process.stdout.write(`ok ${theme}: ${name}\n`);
    } catch (error) {
      this.failed += 1;
      const why = error instanceof Failure ? error.message : error.stack ?? util.inspect(error);
      process.stdout.write(`FAIL ${theme}: ${name}: ${why.replaceAll('\n', ' | ')}\n`);
    } finally {
      scene.close();
    }
  }
}

function limited(promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Failure(`the check took over ${CHECK_MS} ms`)),
      CHECK_MS,
    );
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** The stock WebSocket, counting the frames it is given. */
function countingWebSocket(sent) {
  return class extends WebSocket {
    send(...args) {
      sent.frames += 1;
      sent.more();
      return super.send(...args);
    }
  };
}

/** The stock fetch, counting the requests that carry commands. */
function countingFetch(sent) {
  return (url, options) => {
    if (String(url).endsWith('/emulation')) {
      sent.frames += 1;
      sent.more();
    }
    return fetch(url, options);
  };
}

module.exports = { Harness, Failure };
