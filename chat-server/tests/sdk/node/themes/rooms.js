'use strict';
// Rooms: made, talked in, read back, continued after a cut, and closed to those who are banned.

const { randomUUID } = require('node:crypto');

async function call(s, client, method, data) {
  return s.decode((await client.rpc(method, s.encode(data))).data);
}

function say(s, place, body, idem = randomUUID()) {
  return place.publish(s.encode({ type: 'message', body, idem }));
}

/** A room of alice with others in it. */
async function room(s, alice, members = []) {
  const made = await call(s, alice, 'room.create', { name: 'The band', members });
  s.equal(made.channel, `room:${made.id}`, 'channel');
  return made;
}

const offsets = (log) => log.all('publication').map((pub) => pub.offset).filter((at) => at > 0);
const upTo = (last, first = 1) => Array.from({ length: last - first + 1 }, (_, at) => first + at);

/** Cuts the way of `client`, does something meanwhile, and lets it return. */
async function away(s, client, act) {
  const connects = client.log.all('connected').length;
  await s.ask('cut', { proxy: 'rooms' });
  try {
    await s.until(() => client.state === 'connecting', 'the client notices the cut');
    await act();
  } finally {
    await s.ask('restore', { proxy: 'rooms' });
  }
  await s.until(() => client.log.all('connected').length === connects + 1, 'connects again');
}

/** The promise must reject with this code and these words. */
async function refused(s, promise, code, message, what) {
  const error = await promise.then(() => undefined, (caught) => caught);
  s.equal([error?.code, error?.message], [code, message], what);
}

module.exports = {
  'who is invited learns it from the feed and hears everything': async (s) => {
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const { id, channel, offset } = await room(s, alice);
    s.equal(offset, 1, 'the owner came in');
    const invited = await call(s, alice, 'room.invite', { room: id, user: s.user('bob') });
    s.equal(invited, { role: 'member', offset: 2 }, 'the reply');
    const feed = `user:${s.user('bob')}`;
    await s.until(() => s.received(bob.log, feed).length === 1, 'the feed tells');
    const [told] = s.received(bob.log, feed);
    const joined = { change: 'joined', user: s.user('bob'), by: s.user('alice'), role: 'member' };
    s.equal(told, { type: 'member', room: id, ...joined }, 'the event');
    const his = await s.subscribed(bob, `room:${told.room}`, { since: { offset: 0, epoch: '' } });
    await say(s, await s.subscribed(alice, channel), 'hello');
    await s.until(() => his.log.all('publication').length === 3, 'everything');
    s.equal(s.received(his.log)[1], { type: 'member', ...joined }, 'the same event in the room');
    s.equal(s.received(his.log)[2].body, 'hello', 'the message');
    s.equal(offsets(his.log), [1, 2, 3], 'offsets');
  },

  'everyone hears everyone in one order, and oneself by the idem': async (s) => {
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const { channel } = await room(s, alice, [s.user('bob')]);
    const rooms = [await s.subscribed(alice, channel), await s.subscribed(bob, channel)];
    const sent = [[], []];
    const all = rooms.flatMap((place, who) => upTo(20).map((number) => {
      sent[who].push(randomUUID());
      return say(s, place, `message ${number}`, sent[who].at(-1));
    }));
    await Promise.all(all);
    await s.until(() => rooms.every((one) => offsets(one.log).length === 40), 'all of them');
    const [hers, his] = rooms.map((one) => s.received(one.log));
    s.equal(hers, his, 'both hear the same');
    rooms.forEach((one) => s.equal(offsets(one.log), upTo(42, 3), 'offsets'));
    [s.user('alice'), s.user('bob')].forEach((user, who) => {
      const own = hers.filter((event) => event.sender.id === user).map((event) => event.idem);
      s.equal(own.sort(), sent[who].sort(), 'what one sent');
    });
  },

  'a message that is sent twice is there once': async (s) => {
    const alice = await s.connected('alice');
    const { channel } = await room(s, alice);
    const place = await s.subscribed(alice, channel);
    const idem = randomUUID();
    await Promise.all([say(s, place, 'once', idem), say(s, place, 'once', idem)]);
    await refused(s, say(s, place, 'twice', idem), 409, 'this idem was used for another message',
      'another body');
    const page = await place.history({ limit: 10 });
    s.equal(page.publications.map((pub) => s.decode(pub.data).body), [undefined, 'once'], 'log');
  },

  'edits, reactions and deletions are heard, and found as they stand': async (s) => {
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const { id: inRoom, channel } = await room(s, alice, [s.user('bob')]);
    const place = await s.subscribed(bob, channel);
    const hers = await s.subscribed(alice, channel);
    for (const body of ['frist', 'secret']) await say(s, hers, body);
    await s.until(() => place.log.all('publication').length === 2, 'both messages');
    const [first, secret] = s.received(place.log).map((event) => event.id);
    const about = (id, more = {}) => ({ room: inRoom, id, ...more });
    await call(s, alice, 'message.edit', about(first, { body: 'first' }));
    const reaction = await call(s, bob, 'message.react', about(first, { emoji: '👍' }));
    s.equal(reaction, { offset: 6, count: 1 }, 'the reaction');
    await call(s, alice, 'message.delete', about(secret));
    await s.until(() => place.log.all('publication').length === 5, 'all events');
    const heard = s.received(place.log).slice(2).map((event) => event.type);
    s.equal(heard, ['edit', 'reaction', 'delete'], 'what bob heard');
    const page = await place.history({ limit: 10, since: { offset: 2, epoch: '' } });
    const found = page.publications.map((pub) => s.decode(pub.data));
    s.equal(found.map((event) => event.body), ['first', undefined, 'first', undefined, undefined],
      'what history says');
    s.ok(found[0].edited_at > 0 && found[1].deleted_at > 0, 'edited and deleted');
    const shown = await call(s, bob, 'message.get', about(first));
    s.equal(shown.reactions, [{ emoji: '👍', count: 1, me: true }], 'message.get');
  },

  'history is paged both ways': async (s) => {
    const alice = await s.connected('alice');
    const { channel } = await room(s, alice);
    const place = await s.subscribed(alice, channel);
    for (const number of upTo(25)) await say(s, place, `message ${number}`);
    const read = async (reverse) => {
      const seen = [];
      for (let since; ;) {
        const page = await alice.history(channel, { limit: 10, since, reverse });
        if (page.publications.length === 0) return seen;
        seen.push(...page.publications.map((pub) => pub.offset));
        since = { offset: seen.at(-1), epoch: page.epoch };
      }
    };
    s.equal(await read(false), upTo(26), 'forward');
    s.equal(await read(true), upTo(26).reverse(), 'backward');
    const position = await alice.history(channel);
    s.equal([position.publications, position.offset], [[], 26], 'the position alone');
  },

  'what happened while the way was cut arrives in order, as it stands': async (s) => {
    const others = ['alice', 'carol', 'dave', 'erin'];
    const clients = [];
    for (const name of others) clients.push(await s.connected(name));
    const [alice] = clients;
    const members = [...others, 'bob'].map((name) => s.user(name));
    const { id, channel } = await room(s, alice, members);
    const bob = await s.connected('bob', {}, 'rooms');
    const place = await s.subscribed(bob, channel);
    const talking = [];
    for (const client of clients) talking.push(await s.subscribed(client, channel));
    await say(s, talking[0], 'before');
    await s.until(() => place.log.last('publication'), 'the first message');
    await away(s, bob, async () => {
      await say(s, talking[0], 'secret');
      await s.until(() => s.received(talking[0].log).at(-1)?.body === 'secret', 'alice hears it');
      const secret = s.received(talking[0].log).at(-1).id;
      await call(s, alice, 'message.delete', { room: id, id: secret });
      // More than one page of recovery.
      await Promise.all(talking.map(async (one) => {
        for (const number of upTo(80)) await say(s, one, `message ${number}`);
      }));
    });
    const last = 5 + 1 + 2 + 4 * 80;
    await s.until(() => offsets(place.log).at(-1) === last, 'everything');
    s.equal(offsets(place.log), upTo(last, 6), 'offsets');
    const event = place.log.last('subscribed');
    s.equal([event.wasRecovering, event.recovered], [true, true], 'wasRecovering, recovered');
    const heard = s.received(place.log);
    s.ok(heard[1].deleted_at > 0 && heard[2].type === 'delete', 'a tombstone and its deletion');
    s.ok(!JSON.stringify(heard).includes('secret'), 'what was deleted does not arrive');
    await say(s, talking[0], 'after');
    await s.until(() => s.received(place.log).at(-1).body === 'after', 'what comes next');
  },

  'a position that never was is not recovered': async (s) => {
    const alice = await s.connected('alice');
    const { channel } = await room(s, alice);
    const { epoch } = await alice.history(channel);
    for (const since of [{ offset: 1, epoch: 'another-life' }, { offset: 99, epoch }]) {
      const place = await s.subscribed(alice, channel, { since });
      const event = place.log.last('subscribed');
      s.equal([event.wasRecovering, event.recovered], [true, false], 'wasRecovering, recovered');
      s.equal(event.streamPosition, { offset: 1, epoch }, 'the present position');
      await s.settled(alice, () => place.unsubscribe());
      alice.removeSubscription(place);
    }
  },

  'who is banned is out, and does not try again': async (s) => {
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const { id, channel } = await room(s, alice, [s.user('bob')]);
    const place = await s.subscribed(bob, channel);
    const hers = await s.subscribed(alice, channel);
    await call(s, alice, 'member.ban', { room: id, user: s.user('bob') });
    const event = await s.until(() => place.log.last('unsubscribed'), 'bob is out');
    s.equal(event.code, 2000, `code (${event.reason})`);
    await say(s, hers, 'he is gone');
    await s.until(() => s.received(hers.log).at(-1).body === 'he is gone', 'alice goes on');
    await s.settled(bob);
    s.equal(place.state, 'unsubscribed', 'state');
    s.equal(place.log.all('subscribing').length, 1, 'subscribes');
    const heard = s.received(place.log).filter((one) => one.type === 'message');
    s.equal(heard, [], 'nothing more is heard');
    place.subscribe();
    await s.until(() => place.log.all('unsubscribed').length === 2, 'he stays out');
    const { code, reason } = place.log.last('unsubscribed');
    s.equal([code, reason], [403, 'you are banned from this room'], 'why');
    await refused(s, say(s, { publish: (data) => bob.publish(channel, data) }, 'let me in'), 403,
      'you are banned from this room', 'publish');
    s.equal(bob.log.all('connected').length, 1, 'connects');
  },

  'errors come with their code and words': async (s) => {
    const [alice, eve] = [await s.connected('alice'), await s.connected('eve')];
    const { id, channel } = await room(s, alice);
    const nowhere = randomUUID();
    const rpc = (client, method, data) => call(s, client, method, data);
    const publish = (client, data) => client.publish(channel, s.encode(data));
    await refused(s, rpc(alice, 'room.get', { room: nowhere }), 404, 'no such room', 'room.get');
    await refused(s, rpc(eve, 'room.get', { room: id }), 103, 'you are not a member of this room',
      'a stranger');
    await refused(s, rpc(alice, 'room.create', {}), 400, 'name is missing', 'no name');
    await refused(s, rpc(alice, 'room.leave', { room: id }), 409,
      'the last owner cannot leave or step down', 'the last owner');
    await refused(s, rpc(alice, 'room.sing', {}), 108, 'not available', 'no such method');
    await refused(s, publish(alice, { type: 'message', body: ' ' }), 400,
      'body has nothing that can be seen', 'an empty body');
    await refused(s, publish(alice, { type: 'message', body: 'x'.repeat(8193) }), 413,
      'body is larger than 8192 bytes', 'a body that is too long');
    await refused(s, publish(alice, { type: 'edit' }), 400,
      'this is done with the rpc message.edit', 'an edit');
    await refused(s, publish(eve, { type: 'message', body: 'hi' }), 103,
      'you are not a member of this room', 'a stranger');
    const nobody = await s.connected(null);
    await refused(s, rpc(nobody, 'room.create', { name: 'x' }), 101,
      'this takes a token with a user', 'nobody');
    const lost = s.subscription(alice, `room:${nowhere}`);
    lost.subscribe();
    const event = await s.until(() => lost.log.last('unsubscribed'), 'no such channel');
    s.equal(event.code, 102, `code (${event.reason})`);
  },

  'that somebody is typing is heard and not kept': async (s) => {
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const { channel } = await room(s, alice, [s.user('bob')]);
    const hers = await s.subscribed(alice, channel);
    await s.subscribed(bob, channel);
    await bob.send(s.encode({ typing: { channel, on: true } }));
    const typing = await s.until(() => hers.log.last('publication'), 'typing');
    s.equal(s.decode(typing.data), { type: 'typing', on: true }, 'data');
    s.equal([typing.info.user, typing.offset || 0], [s.user('bob'), 0], 'who, and no offset');
    s.equal((await hers.history()).offset, 2, 'the log');
  },

  'the feed is recovered after a cut': async (s) => {
    const alice = await s.connected('alice');
    const bob = await s.connected('bob', {}, 'rooms');
    const feed = `user:${s.user('bob')}`;
    const first = await room(s, alice, [s.user('bob')]);
    await s.until(() => s.received(bob.log, feed).length === 1, 'the first room');
    const rooms = [first.id];
    await away(s, bob, async () => {
      for (let count = 0; count < 3; count += 1) {
        rooms.push((await room(s, alice, [s.user('bob')])).id);
      }
    });
    await s.until(() => s.received(bob.log, feed).length === 4, 'all of them');
    s.equal(s.received(bob.log, feed).map((event) => event.room), rooms, 'rooms');
    const event = bob.log.all('subscribed').filter((one) => one.channel === feed).at(-1);
    s.equal([event.wasRecovering, event.recovered], [true, true], 'wasRecovering, recovered');
  },

  'two people have one conversation': async (s) => {
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const hers = await call(s, alice, 'dm.open', { user: s.user('bob') });
    const his = await call(s, bob, 'dm.open', { user: s.user('alice') });
    s.equal(hers, his, 'the conversation');
    const place = await s.subscribed(bob, his.channel);
    await say(s, await s.subscribed(alice, hers.channel), 'just us');
    await s.until(() => place.log.last('publication'), 'the message');
    const marked = await call(s, bob, 'read.mark', { room: his.id, offset: 3 });
    s.equal(marked, { unread: 0 }, 'read');
    const { rooms } = await call(s, bob, 'unread.list', {});
    s.equal(rooms, [{ room: his.id, unread: 0, offset: 3, head: 3 }], 'unread');
  },
};
