'use strict';
// A hundred connects, a hundred subscribes, and as many channels at once as there may be.

const CHANNELS_MAX = 128;

module.exports = {
  'a hundred connects, one after the other': async (s) => {
    const client = s.client({ token: await s.token('alice') });
    const ids = new Set();
    for (let n = 1; n <= 100; n += 1) {
      client.connect();
      await s.until(() => client.log.all('connected').length === n, `connect ${n}`);
      ids.add(client.log.last('connected').client);
      client.disconnect();
    }
    s.equal(ids.size, 100, 'different ids');
    s.equal(client.log.all('error'), [], 'errors');
  },

  'a hundred subscribes, one after the other': async (s) => {
    const client = await s.connected();
    const subscription = s.subscription(client, s.channel());
    for (let n = 1; n <= 100; n += 1) {
      subscription.subscribe();
      await s.until(() => subscription.log.all('subscribed').length === n, `subscribe ${n}`);
      subscription.unsubscribe();
    }
    s.equal(subscription.log.all('error'), [], 'errors');
    s.equal(client.log.all('connected').length, 1, 'connects');
  },

  'a connection holds 128 channels and no more': async (s) => {
    // Anonymous, so that no server-side subscription takes one of the places.
    const client = s.client();
    const subscriptions = [];
    for (let n = 0; n < CHANNELS_MAX; n += 1) {
      subscriptions.push(s.subscription(client, s.channel()));
    }
    for (const subscription of subscriptions) subscription.subscribe();
    client.connect();
    await s.until(() => subscriptions.every((one) => one.state === 'subscribed'), 'all of them');
    const over = s.subscription(client, s.channel());
    over.subscribe();
    const event = await s.until(() => over.log.last('unsubscribed'), 'one more is refused');
    s.equal(event.code, 106, `code (${event.reason})`);
    const [first] = subscriptions;
    await first.publish(s.encode('still here'));
    await s.until(() => first.log.last('publication'), 'the others go on');
    s.equal(client.log.all('connected').length, 1, 'connects');
    await s.settled(client, () => first.unsubscribe());
    over.subscribe();
    await s.until(() => over.state === 'subscribed', 'a place that was left is free');
  },
};
