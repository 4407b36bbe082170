'use strict';
// What was published while a client was away arrives on its return, or it is told that it did not.

/** Cuts the way of `client`, publishes `values` meanwhile, and lets it return. */
async function away(s, client, channel, values) {
  const connects = client.log.all('connected').length;
  await s.ask('cut', { proxy: 'recovery' });
  await s.until(() => client.state === 'connecting', 'the client notices the cut');
  for (const value of values) await s.ask('publish', { channel, data: value });
  await s.ask('restore', { proxy: 'recovery' });
  await s.until(() => client.log.all('connected').length === connects + 1, 'it connects again');
}

async function subscriber(s, channel, options = {}) {
  const client = await s.connected('alice', {}, 'recovery');
  return { client, subscription: await s.subscribed(client, channel, options) };
}

async function resubscribed(s, subscription) {
  await s.until(() => subscription.log.all('subscribed').length === 2, 'subscribed again');
  return subscription.log.last('subscribed');
}

module.exports = {
  'publications made while away arrive in order': async (s) => {
    const channel = s.channel();
    const { client, subscription } = await subscriber(s, channel);
    await client.publish(channel, s.encode('before'));
    await s.until(() => subscription.log.last('publication'), 'the first publication');
    await away(s, client, channel, ['one', 'two', 'three']);
    const event = await resubscribed(s, subscription);
    s.equal([event.wasRecovering, event.recovered], [true, true], 'wasRecovering, recovered');
    await s.ask('publish', { channel, data: 'after' });
    await s.until(() => subscription.log.all('publication').length >= 5, 'everything');
    s.equal(s.received(subscription.log), ['before', 'one', 'two', 'three', 'after'], 'payloads');
    const offsets = subscription.log.all('publication').map((pub) => pub.offset);
    s.equal(offsets, [1, 2, 3, 4, 5], 'offsets');
  },

  'hundreds of publications arrive in order before and while others are made': async (s) => {
    const channel = s.channel('long');
    const { client, subscription } = await subscriber(s, channel);
    await s.ask('burst', { channel, from: 1, to: 1, padding: 0 });
    await s.until(() => subscription.log.last('publication'), 'the first publication');
    await s.ask('cut', { proxy: 'recovery' });
    await s.until(() => client.state === 'connecting', 'the client notices the cut');
    await s.ask('burst', { channel, from: 2, to: 700, padding: 300 });
    await s.ask('restore', { proxy: 'recovery' });
    for (let from = 701; from <= 1000; from += 10) {
      await s.ask('burst', { channel, from, to: from + 9, padding: 300 });
    }
    const event = await resubscribed(s, subscription);
    s.equal([event.wasRecovering, event.recovered], [true, true], 'wasRecovering, recovered');
    const { log } = subscription;
    await s.until(() => log.all('publication').length >= 1000, 'everything');
    const expected = Array.from({ length: 1000 }, (_, index) => index + 1);
    s.equal(s.received(log).map(({ n }) => n), expected, 'payloads');
    s.equal(log.all('publication').map((pub) => pub.offset), expected, 'offsets');
  },

  'a client that missed nothing recovers nothing': async (s) => {
    const channel = s.channel();
    const { client, subscription } = await subscriber(s, channel);
    await client.publish(channel, s.encode('before'));
    await s.until(() => subscription.log.last('publication'), 'the first publication');
    await away(s, client, channel, []);
    const event = await resubscribed(s, subscription);
    s.equal([event.wasRecovering, event.recovered], [true, true], 'wasRecovering, recovered');
    await client.publish(channel, s.encode('after'));
    await s.until(() => subscription.log.all('publication').length >= 2, 'the next publication');
    s.equal(s.received(subscription.log), ['before', 'after'], 'payloads');
  },

  'a client away for longer than history reaches is told': async (s) => {
    const channel = s.channel('short');
    const { client, subscription } = await subscriber(s, channel);
    await client.publish(channel, s.encode(0));
    await s.until(() => subscription.log.last('publication'), 'the first publication');
    await away(s, client, channel, [1, 2, 3, 4, 5]);
    const event = await resubscribed(s, subscription);
    s.equal([event.wasRecovering, event.recovered], [true, false], 'wasRecovering, recovered');
    s.equal(event.streamPosition.offset, 6, 'the position is the present one');
    await s.ask('publish', { channel, data: 6 });
    await s.until(() => subscription.log.all('publication').length >= 2, 'the next publication');
    s.equal(s.received(subscription.log), [0, 6], 'no partial recovery');
  },

  'a subscription starts from a position it was given': async (s) => {
    const channel = s.channel();
    for (const data of [1, 2, 3]) await s.ask('publish', { channel, data });
    const client = await s.connected();
    const { epoch } = await client.history(channel);
    const subscription = await s.subscribed(client, channel, { since: { offset: 1, epoch } });
    const event = subscription.log.last('subscribed');
    s.equal([event.wasRecovering, event.recovered], [true, true], 'wasRecovering, recovered');
    await s.until(() => subscription.log.all('publication').length >= 2, 'publications');
    s.equal(s.received(subscription.log), [2, 3], 'payloads');
  },

  'a position of another epoch is not recovered': async (s) => {
    const channel = s.channel();
    for (const data of [1, 2, 3]) await s.ask('publish', { channel, data });
    const client = await s.connected();
    const since = { offset: 1, epoch: 'another-life' };
    const subscription = await s.subscribed(client, channel, { since });
    const event = subscription.log.last('subscribed');
    s.equal([event.wasRecovering, event.recovered], [true, false], 'wasRecovering, recovered');
    s.equal(event.streamPosition.offset, 3, 'the position is the present one');
  },

  'a position from the future is not recovered': async (s) => {
    const channel = s.channel();
    await s.ask('publish', { channel, data: 1 });
    const client = await s.connected();
    const { epoch } = await client.history(channel);
    const subscription = await s.subscribed(client, channel, { since: { offset: 99, epoch } });
    const event = subscription.log.last('subscribed');
    s.equal([event.wasRecovering, event.recovered], [true, false], 'wasRecovering, recovered');
  },

  'state is loaded again when its position is unrecoverable': async (s) => {
    const channel = s.channel();
    for (const data of [1, 2]) await s.ask('publish', { channel, data });
    const client = await s.connected();
    const { epoch } = await client.history(channel);
    const positions = [{ offset: 1, epoch: 'another-life' }, { offset: 1, epoch }];
    let loads = 0;
    const subscription = await s.subscribed(client, channel, {
      minResubscribeDelay: 20,
      getState: async () => {
        loads += 1;
        return positions.shift();
      },
    });
    s.equal(loads, 2, 'loads');
    await s.until(() => subscription.log.last('publication'), 'what the state lacks');
    s.equal(s.received(subscription.log), [2], 'payloads');
  },

  'the feed of a user recovers too': async (s) => {
    const client = await s.connected('alice', {}, 'recovery');
    const channel = `user:${s.user('alice')}`;
    await s.until(() => client.log.last('subscribed'), 'the feed is subscribed');
    await away(s, client, channel, ['one', 'two']);
    await s.until(() => client.log.all('publication').length >= 2, 'publications');
    s.equal(s.received(client.log, channel), ['one', 'two'], 'payloads');
    const event = client.log.last('subscribed');
    s.equal([event.wasRecovering, event.recovered], [true, true], 'wasRecovering, recovered');
  },
};
