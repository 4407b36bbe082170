'use strict';
// While the store does not answer: everything says so and is tried again, and nothing is doubled.
// Not among the themes of every run: it takes a server whose store can be held.

const { randomUUID } = require('node:crypto');

const AWAY = 503;

async function held(s, act) {
  await s.ask('hold');
  try {
    return await act();
  } finally {
    await s.ask('release');
  }
}

module.exports = {
  'subscribing to a room is tried again until it succeeds': async (s) => {
    const [alice, bob] = [await s.connected('alice'), await s.connected('bob')];
    const made = { name: 'The band', members: [s.user('bob')] };
    const { channel } = s.decode((await alice.rpc('room.create', s.encode(made))).data);
    const place = s.subscription(bob, channel, { minResubscribeDelay: 20 });
    await held(s, async () => {
      place.subscribe();
      const { error } = await s.until(() => place.log.last('error'), 'the first refusal');
      s.equal([error.code, error.message], [AWAY, 'store unavailable'], 'code and message');
      s.equal(place.state, 'subscribing', 'state');
    });
    await s.until(() => place.state === 'subscribed', 'subscribed after all');
    s.equal(bob.log.all('connected').length, 1, 'connects');
  },

  'a message that nobody can say about is sent again and is there once': async (s) => {
    const alice = await s.connected('alice');
    const made = s.encode({ name: 'The band' });
    const { channel } = s.decode((await alice.rpc('room.create', made)).data);
    const place = await s.subscribed(alice, channel);
    const message = s.encode({ type: 'message', body: 'hello', idem: randomUUID() });
    await held(s, () => s.refused(place.publish(message), AWAY, 'publish'));
    // The SDK leaves that to the program.
    const tried = async () => {
      try {
        return await place.publish(message);
      } catch (error) {
        s.equal([error.code, error.temporary], [AWAY, true], 'nothing but the store');
        return tried();
      }
    };
    await tried();
    await s.until(() => place.log.last('publication'), 'it is heard');
    const page = await place.history({ limit: 10 });
    const said = page.publications.map((pub) => s.decode(pub.data).body);
    s.equal(said, [undefined, 'hello'], 'the log');
  },

  'who connects with a token is let in when the feed can be read': async (s) => {
    const client = s.client({ token: await s.token('carol') });
    await held(s, async () => {
      client.connect();
      const { error } = await s.until(() => client.log.last('error'), 'the first refusal');
      s.equal(error.code, AWAY, `code (${error.message})`);
      s.equal(client.state, 'connecting', 'state');
    });
    await s.until(() => client.state === 'connected', 'connected after all');
  },
};
