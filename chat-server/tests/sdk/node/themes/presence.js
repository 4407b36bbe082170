'use strict';
// Presence, its statistics, and the joins and leaves that change it.

const users = (events) => events.map((event) => event.info.user);

module.exports = {
  'presence lists who is there': async (s) => {
    const channel = s.channel();
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const subscription = await s.subscribed(alice, channel);
    await s.subscribed(bob, channel);
    const { clients } = await subscription.presence();
    const expected = {};
    for (const [client, user] of [[alice, 'alice'], [bob, 'bob']]) {
      expected[client.log.last('connected').client] = s.user(user);
    }
    const seen = Object.fromEntries(
      Object.entries(clients).map(([id, info]) => [id, info.user]),
    );
    s.equal(seen, expected, 'clients');
    s.ok(Object.entries(clients).every(([id, info]) => info.client === id), 'ids agree');
  },

  'presence stats count clients and users': async (s) => {
    const channel = s.channel();
    const alice = await s.connected('alice');
    await s.subscribed(alice, channel);
    await s.subscribed(await s.connected('alice'), channel);
    await s.subscribed(await s.connected('bob'), channel);
    s.equal(await alice.presenceStats(channel), { numUsers: 2, numClients: 3 }, 'stats');
  },

  'presence of a channel nobody is in is empty': async (s) => {
    const client = await s.connected();
    const channel = s.channel();
    s.equal((await client.presence(channel)).clients, {}, 'clients');
    s.equal(await client.presenceStats(channel), { numUsers: 0, numClients: 0 }, 'stats');
  },

  'joins and leaves are told': async (s) => {
    const channel = s.channel();
    const alice = await s.connected('alice');
    const { log } = await s.subscribed(alice, channel);
    const others = (name) => log.all(name).filter((e) => e.info.user !== s.user('alice'));
    const bob = await s.connected('bob');
    const theirs = await s.subscribed(bob, channel);
    await s.until(() => others('join').length === 1, 'bob joins');
    theirs.unsubscribe();
    await s.until(() => others('leave').length === 1, 'bob leaves by unsubscribing');
    const carol = await s.connected('carol');
    await s.subscribed(carol, channel);
    await s.until(() => others('join').length === 2, 'carol joins');
    carol.disconnect();
    await s.until(() => others('leave').length === 2, 'carol leaves by disconnecting');
    const expected = [s.user('bob'), s.user('carol')];
    s.equal(users(others('join')), expected, 'joins');
    s.equal(users(others('leave')), expected, 'leaves');
    const { clients } = await alice.presence(channel);
    s.equal(Object.values(clients).map((info) => info.user), [s.user('alice')], 'who is left');
  },

  'a leave is told when the transport is cut': async (s) => {
    const channel = s.channel();
    const { log } = await s.subscribed(await s.connected('alice'), channel);
    const bob = await s.connected('bob', {}, 'leaving');
    const id = bob.log.last('connected').client;
    await s.subscribed(bob, channel);
    await s.ask('cut', { proxy: 'leaving' });
    await s.until(() => log.all('leave').some((e) => e.info.client === id), 'bob leaves');
    await s.ask('restore', { proxy: 'leaving' });
    const again = () => log.all('join').filter((e) => e.info.user === s.user('bob'));
    await s.until(() => again().length === 2, 'bob joins again');
    s.ok(again()[1].info.client !== id, 'as a new client');
  },

  'joins are told only to those who ask where they are not forced': async (s) => {
    const channel = s.channel('joins');
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const asks = await s.subscribed(alice, channel, { joinLeave: true });
    const quiet = await s.subscribed(bob, channel);
    const carol = await s.connected('carol');
    await s.subscribed(carol, channel);
    const joined = (log) => users(log.all('join')).includes(s.user('carol'));
    await s.until(() => joined(asks.log), 'the one who asked hears of carol');
    await carol.publish(channel, s.encode('after the join'));
    await s.until(() => quiet.log.last('publication'), 'a publication after the join');
    s.equal(quiet.log.all('join'), [], 'the other hears nothing');
  },

  'presence where none is kept answers 108': async (s) => {
    const client = await s.connected();
    await s.refused(client.presence(s.channel('plain')), 108, 'presence');
    await s.refused(client.presenceStats(s.channel('plain')), 108, 'presence stats');
  },
};
