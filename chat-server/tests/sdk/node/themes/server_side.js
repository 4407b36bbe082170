'use strict';
// What the server does on its own: subscriptions it makes and ends, messages, refreshes.

async function feed(s) {
  const client = await s.connected('alice');
  const channel = `user:${s.user('alice')}`;
  const event = await s.until(
    () => client.log.all('subscribed').find((one) => one.channel === channel),
    'the feed is subscribed',
  );
  return { client, channel, event };
}

module.exports = {
  'a user is subscribed to the own feed': async (s) => {
    const { client, channel, event } = await feed(s);
    s.equal(event.recoverable, true, 'recoverable');
    await s.ask('publish', { channel, data: { unread: 1 } });
    await s.ask('publish', { channel, data: { unread: 2 } });
    await s.until(() => client.log.all('publication').length >= 2, 'publications');
    s.equal(s.received(client.log, channel), [{ unread: 1 }, { unread: 2 }], 'payloads');
    const offsets = client.log.all('publication').map((pub) => pub.offset);
    s.equal(offsets[1] - offsets[0], 1, 'offsets are gap-free');
  },

  'an anonymous client has no feed': async (s) => {
    const client = await s.connected(null);
    await s.settled(client);
    s.equal(client.log.all('subscribed'), [], 'subscriptions');
  },

  'the feed of another user is closed': async (s) => {
    const client = await s.connected('alice');
    const subscription = s.subscription(client, `user:${s.user('bob')}`);
    subscription.subscribe();
    const event = await s.until(() => subscription.log.last('unsubscribed'), 'unsubscribed');
    s.equal(event.code, 103, `code (${event.reason})`);
  },

  'the server subscribes and unsubscribes a connected user': async (s) => {
    const { client } = await feed(s);
    const [user, channel] = [s.user('alice'), s.channel()];
    const told = (name) => client.log.all(name).filter((event) => event.channel === channel);
    await s.ask('subscribe', { user, channel });
    await s.until(() => told('subscribed').length === 1, 'subscribed');
    await s.ask('publish', { channel, data: 'pushed' });
    await s.until(() => told('publication').length === 1, 'publication');
    s.equal(s.received(client.log, channel), ['pushed'], 'payload');
    await s.ask('unsubscribe', { user, channel, code: 2000 });
    await s.until(() => told('unsubscribed').length === 1, 'unsubscribed');
    await s.ask('publish', { channel, data: 'unseen' });
    await s.settled(client);
    s.equal(told('publication').length, 1, 'publications');
  },

  'a client cannot subscribe where the server has subscribed it': async (s) => {
    const { client, channel } = await feed(s);
    const subscription = s.subscription(client, channel);
    subscription.subscribe();
    const event = await s.until(() => subscription.log.last('unsubscribed'), 'unsubscribed');
    s.equal(event.code, 105, `code (${event.reason})`);
  },

  'the server sends a message': async (s) => {
    const { client } = await feed(s);
    await s.ask('send', { user: s.user('alice'), data: { note: 'hello' } });
    const event = await s.until(() => client.log.last('message'), 'message');
    s.equal(s.decode(event.data), { note: 'hello' }, 'payload');
  },

  'the server refreshes a connection': async (s) => {
    const client = await s.connected('alice', { token: await s.token('alice', { ttl: 3600 }) });
    await s.ask('refresh', { user: s.user('alice'), ttl: 7200 });
    await s.settled(client);
    s.equal(client.log.all('connected').length, 1, 'connects');
    s.equal(client.log.all('error'), [], 'errors');
  },

  'a disconnect reaches every connection of the user and no other': async (s) => {
    const [one, two] = [await s.connected('alice'), await s.connected('alice')];
    const other = await s.connected('bob');
    await s.ask('disconnect', { user: s.user('alice'), code: 3503 });
    await s.until(() => one.state === 'disconnected' && two.state === 'disconnected', 'both');
    await s.settled(other);
    s.equal(other.log.all('connected').length, 1, 'connects');
  },
};
