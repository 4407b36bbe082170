'use strict';
// Every disconnect and unsubscribe code is obeyed: come back, or stay away.

const COME_BACK = [3001, 3004, 3005, 3008, 3010, 3011, 3012, 3013, 3014, 4000, 4001, 4002];
const STAY_AWAY = [3500, 3501, 3502, 3503, 3505, 3507, 3509, 4500, 4501];

async function comesBack(s, code) {
  const client = await s.connected('alice', { getToken: () => s.token('alice') });
  const subscription = await s.subscribed(client, s.channel());
  const first = client.log.last('connected').client;
  await s.ask('disconnect', { user: s.user('alice'), code });
  await s.until(() => client.log.all('connected').length === 2, 'connected again');
  const event = client.log.last('connecting');
  s.equal(event.code, code, 'connecting code');
  s.ok(event.reason.length > 0, 'a reason is given');
  s.ok(client.log.last('connected').client !== first, 'under a new id');
  await s.until(() => subscription.log.all('subscribed').length === 2, 'subscribed again');
  s.equal(client.log.all('disconnected'), [], 'disconnects');
}

async function staysAway(s, code) {
  const client = await s.connected('alice');
  const subscription = await s.subscribed(client, s.channel());
  await s.ask('disconnect', { user: s.user('alice'), code });
  const event = await s.until(() => client.log.last('disconnected'), 'disconnected');
  s.equal(event.code, code, 'code');
  s.ok(event.reason.length > 0, 'a reason is given');
  s.equal(client.state, 'disconnected', 'state');
  s.equal(subscription.state, 'subscribing', 'the subscription waits for a connect');
  s.equal(client.log.all('connected').length, 1, 'connects');
}

async function unsubscribe(s, code) {
  const channel = s.channel();
  const client = await s.connected('alice');
  const subscription = await s.subscribed(client, channel, { minResubscribeDelay: 20 });
  await s.ask('unsubscribe', { user: s.user('alice'), channel, code });
  return { client, channel, subscription };
}

const checks = {};

checks['a server that goes away says so'] = async (s) => {
  const client = await s.connected('alice', {}, 'passing');
  const subscription = await s.subscribed(client, s.channel());
  await s.ask('stop');
  const event = await s.until(
    () => client.log.all('connecting').find(({ code }) => code > 100),
    'the goodbye',
  );
  s.equal([event.code, event.reason], [3001, 'shutdown'], 'code and reason');
  s.equal(subscription.state, 'subscribing', 'the subscription waits for another server');
  s.equal(client.log.all('disconnected'), [], 'disconnects');
};

checks['an idle client answers pings and stays'] = async (s) => {
  const client = await s.connected('alice', {}, 'strict');
  const before = client.sent.frames;
  // The second ping comes only to a client whose first pong was taken.
  await s.until(() => client.sent.frames === before + 2, 'two pongs');
  await s.settled(client);
  s.equal(client.log.all('connected').length, 1, 'connects');
};

checks['a frame over 64 KiB is not taken'] = async (s) => {
  const client = await s.connected();
  const channel = s.channel();
  const before = client.sent.frames;
  client.publish(channel, s.encode('x'.repeat(70000))).catch(() => {});
  await s.until(() => client.sent.frames > before, 'the frame is sent');
  if (s.harness.transport === 'websocket') {
    const event = await s.until(() => client.log.last('disconnected'), 'disconnected');
    s.equal([event.code, event.reason], [3, 'message size limit exceeded'], 'code and reason');
  } else {
    // The request alone is refused, which the SDK passes over.
    await s.settled(client);
    s.equal((await client.history(channel)).offset, 0, 'offset');
    s.equal(client.log.all('connected').length, 1, 'connects');
  }
};

for (const code of COME_BACK) {
  checks[`a client closed with ${code} comes back`] = (s) => comesBack(s, code);
}
for (const code of STAY_AWAY) {
  checks[`a client closed with ${code} stays away`] = (s) => staysAway(s, code);
}

checks['a subscription ended with 2000 stays ended'] = async (s) => {
  const { client, channel, subscription } = await unsubscribe(s, 2000);
  const event = await s.until(() => subscription.log.last('unsubscribed'), 'unsubscribed');
  s.equal(event.code, 2000, 'code');
  s.ok(event.reason.length > 0, 'a reason is given');
  await client.publish(channel, s.encode('unseen'));
  s.equal(s.received(subscription.log), [], 'publications');
  s.equal(client.state, 'connected', 'client');
};

for (const code of [2500, 2501, 2502]) {
  checks[`a subscription ended with ${code} is subscribed again`] = async (s) => {
    const { channel, subscription } = await unsubscribe(s, code);
    await s.until(() => subscription.log.all('subscribed').length === 2, 'subscribed again');
    s.equal(subscription.log.last('subscribing').code, code, 'subscribing code');
    await s.ask('publish', { channel, data: 'seen' });
    await s.until(() => subscription.log.last('publication'), 'publication');
    s.equal(s.received(subscription.log), ['seen'], 'payloads');
  };
}

module.exports = checks;
