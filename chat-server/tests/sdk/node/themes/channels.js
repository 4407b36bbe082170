'use strict';
// Subscribing with and without subscription tokens, publishing, receiving, and being refused.

const AWKWARD = {
  text: 'line\nbreak \u2028 "quotes" \\ ☕ 𝄞',
  nested: [null, true, 1.5, { a: [] }],
};

async function unsubscribed(s, subscription, code) {
  subscription.subscribe();
  const event = await s.until(() => subscription.log.last('unsubscribed'), 'unsubscribed');
  s.equal(event.code, code, `unsubscribe code (${event.reason})`);
  s.equal(subscription.state, 'unsubscribed', 'state');
}

module.exports = {
  'a publication reaches every subscriber and its sender': async (s) => {
    const channel = s.channel();
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const [ours, theirs] = [await s.subscribed(alice, channel), await s.subscribed(bob, channel)];
    await ours.publish(s.encode({ hello: 1 }));
    await bob.publish(channel, s.encode({ hello: 2 }));
    for (const { log } of [ours, theirs]) {
      await s.until(() => log.all('publication').length === 2, 'both publications arrive');
      s.equal(s.received(log), [{ hello: 1 }, { hello: 2 }], 'payloads in order');
      s.equal(log.all('publication').map((pub) => pub.offset), [1, 2], 'offsets');
      const info = log.all('publication')[0].info;
      s.equal(info.user, s.user('alice'), 'the sender is named');
      s.equal(info.client, alice.log.last('connected').client, 'and so is its client');
    }
  },

  'an anonymous client subscribes and publishes': async (s) => {
    const client = await s.connected(null);
    const subscription = await s.subscribed(client, s.channel());
    await subscription.publish(s.encode('hi'));
    await s.until(() => subscription.log.last('publication'), 'own publication');
    s.equal(s.received(subscription.log), ['hi'], 'payload');
  },

  'any JSON value survives the way': async (s) => {
    const client = await s.connected();
    const subscription = await s.subscribed(client, s.channel());
    const values = [AWKWARD, 'text', 42, [], {}, { long: 'x'.repeat(6000) }];
    for (const value of values) await subscription.publish(s.encode(value));
    await s.until(() => subscription.log.all('publication').length === values.length, 'all');
    s.equal(s.received(subscription.log), values, 'payloads');
  },

  'a subscription made before connecting is subscribed with it': async (s) => {
    const client = s.client({ token: await s.token('alice') });
    const subscriptions = [1, 2, 3].map(() => s.subscription(client, s.channel()));
    for (const subscription of subscriptions) subscription.subscribe();
    client.connect();
    await s.until(() => subscriptions.every((one) => one.state === 'subscribed'), 'all three');
  },

  'after unsubscribing nothing arrives and subscribing again works': async (s) => {
    const channel = s.channel('plain');
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const [gone, stays] = [await s.subscribed(alice, channel), await s.subscribed(bob, channel)];
    await s.settled(alice, () => gone.unsubscribe());
    await bob.publish(channel, s.encode('unseen'));
    await s.until(() => stays.log.last('publication'), 'the other subscriber');
    gone.subscribe();
    await s.until(() => gone.log.all('subscribed').length === 2, 'subscribed again');
    await bob.publish(channel, s.encode('seen'));
    await s.until(() => gone.log.last('publication'), 'a publication');
    s.equal(s.received(gone.log), ['seen'], 'payloads');
  },

  'a channel without history has publications without offset': async (s) => {
    const client = await s.connected();
    const subscription = await s.subscribed(client, s.channel('plain'));
    await subscription.publish(s.encode(1));
    const pub = await s.until(() => subscription.log.last('publication'), 'publication');
    s.equal(pub.offset, undefined, 'offset');
    s.equal(subscription.log.last('subscribed').recoverable, false, 'recoverable');
  },

  'a subscription token opens a channel that needs one': async (s) => {
    const channel = s.channel('private');
    const client = await s.connected('alice');
    const subscription = await s.subscribed(client, channel, {
      token: await s.token('alice', { channel }),
    });
    await subscription.publish(s.encode('inside'));
    await s.until(() => subscription.log.last('publication'), 'publication');
  },

  'a subscription fetches its token': async (s) => {
    const channel = s.channel('private');
    const client = await s.connected('alice');
    const asked = [];
    await s.subscribed(client, channel, {
      getToken: (context) => {
        asked.push(context.channel);
        return s.token('alice', { channel });
      },
    });
    s.equal(asked, [channel], 'token requests');
  },

  'a subscription fetches its token while the client connects': async (s) => {
    const channel = s.channel('private');
    const client = s.client({ token: await s.token('alice') });
    const open = s.subscription(client, s.channel());
    const closed = s.subscription(client, channel, {
      getToken: () => s.token('alice', { channel }),
    });
    open.subscribe();
    closed.subscribe();
    client.connect();
    await s.until(() => [open, closed].every((one) => one.state === 'subscribed'), 'both');
    s.equal(client.log.all('connected').length, 1, 'connects');
  },

  'an anonymous client uses a subscription token': async (s) => {
    const channel = s.channel('private');
    const client = await s.connected(null);
    await s.subscribed(client, channel, { token: await s.ask('token', { channel }) });
  },

  'a channel that needs a token refuses without one': async (s) => {
    const client = await s.connected();
    await unsubscribed(s, s.subscription(client, s.channel('private')), 103);
  },

  'a subscription token for another channel is refused': async (s) => {
    const client = await s.connected('alice');
    const token = await s.token('alice', { channel: s.channel('private') });
    await unsubscribed(s, s.subscription(client, s.channel('private'), { token }), 103);
  },

  'a subscription token of another user is refused': async (s) => {
    const channel = s.channel('private');
    const client = await s.connected('alice');
    const token = await s.token('bob', { channel });
    await unsubscribed(s, s.subscription(client, channel, { token }), 103);
  },

  'a subscription token signed by another key is refused': async (s) => {
    const channel = s.channel('private');
    const client = await s.connected('alice');
    const token = await s.token('alice', { channel, key: 'another' });
    await unsubscribed(s, s.subscription(client, channel, { token }), 103);
  },

  'a channel that allows nothing refuses everything': async (s) => {
    const client = await s.connected();
    const channel = s.channel('closed');
    await unsubscribed(s, s.subscription(client, channel), 103);
    await s.refused(client.publish(channel, s.encode(1)), 103, 'publish');
    const watched = s.channel('watched');
    await s.subscribed(client, watched);
    await s.refused(client.publish(watched, s.encode(1)), 103, 'publish');
    await s.refused(client.history(watched, { limit: 1 }), 103, 'history');
    await s.refused(client.presence(watched), 103, 'presence');
    await s.refused(client.presenceStats(watched), 103, 'presence stats');
  },

  'an unknown namespace answers 102': async (s) => {
    const client = await s.connected();
    await unsubscribed(s, s.subscription(client, s.channel('nowhere')), 102);
  },

  'positions are kept for those who ask where recovery is not forced': async (s) => {
    const client = await s.connected();
    const kept = async (options) => {
      const subscription = await s.subscribed(client, s.channel('watched'), options);
      const event = subscription.log.last('subscribed');
      return [event.positioned, event.recoverable];
    };
    s.equal(await kept({}), [false, false], 'without asking');
    s.equal(await kept({ positioned: true }), [true, false], 'positioned');
    s.equal(await kept({ recoverable: true }), [true, true], 'recoverable');
  },

  'kinds of subscription that are not served answer 108': async (s) => {
    const client = await s.connected();
    const tagsFilter = { key: 'a', cmp: 'eq', val: 'b' };
    await unsubscribed(s, s.subscription(client, s.channel(), { delta: 'fossil' }), 108);
    await unsubscribed(s, s.subscription(client, s.channel(), { tagsFilter }), 108);
  },

  'who types is told to the others and leaves no trace': async (s) => {
    const channel = s.channel();
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    await s.subscribed(alice, channel);
    const { log } = await s.subscribed(bob, channel);
    // One after the other: behind a balancer, what is sent at once may overtake itself.
    for (const [before, on] of [true, false].entries()) {
      await s.settled(alice, () => alice.send(s.encode({ typing: { channel, on } })));
      await s.until(() => log.all('publication').length === before + 1, 'typing');
    }
    const typing = (on) => ({ type: 'typing', on });
    s.equal(s.received(log), [typing(true), typing(false)], 'payloads');
    const [first] = log.all('publication');
    s.equal([first.offset, first.info.user], [undefined, s.user('alice')], 'offset and sender');
    s.equal((await bob.history(channel, { limit: -1 })).publications, [], 'history');
  },

  'a body over the limit is refused with 413': async (s) => {
    const client = await s.connected();
    const body = s.encode('x'.repeat(20000));
    await s.refused(client.publish(s.channel(), body), 413, 'publish');
    await s.settled(client);
  },
};
