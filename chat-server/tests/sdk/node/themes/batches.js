'use strict';
// Several commands in one frame are answered one by one, in order.

module.exports = {
  'a batch is one frame and every command is answered': async (s) => {
    const client = await s.connected();
    const channel = s.channel();
    const subscription = await s.subscribed(client, channel);
    const before = client.sent.frames;
    client.startBatching();
    const replies = Promise.allSettled([
      client.publish(channel, s.encode(1)),
      client.publish(channel, s.encode(2)),
      client.presenceStats(channel),
      client.rpc('no.such.method', s.encode({})),
      client.history(channel, { limit: -1 }),
    ]);
    client.stopBatching();
    const [one, two, stats, rpc, history] = await replies;
    s.equal(client.sent.frames - before, 1, 'frames');
    s.equal([one.status, two.status], ['fulfilled', 'fulfilled'], 'publishes');
    s.equal(stats.value, { numUsers: 1, numClients: 1 }, 'stats');
    s.equal(rpc.reason.code, 108, 'rpc');
    s.equal(history.value.publications.map((pub) => s.decode(pub.data)), [1, 2], 'history');
    await s.until(() => subscription.log.all('publication').length === 2, 'publications');
    s.equal(s.received(subscription.log), [1, 2], 'payloads');
  },

  'a batch of subscribes and unsubscribes leaves what it says': async (s) => {
    const client = await s.connected();
    const subscriptions = [1, 2, 3].map(() => s.subscription(client, s.channel()));
    client.startBatching();
    for (const subscription of subscriptions) subscription.subscribe();
    client.stopBatching();
    await s.until(() => subscriptions.every((one) => one.state === 'subscribed'), 'all three');
    await s.settled(client, () => {
      for (const subscription of subscriptions) subscription.unsubscribe();
    });
    for (const { channel } of subscriptions) {
      s.equal((await client.presenceStats(channel)).numClients, 0, `clients of ${channel}`);
    }
  },
};
