'use strict';
// Who may connect, and what a connection can do before it subscribes to anything.

async function ends(s, client, code) {
  const event = await s.until(() => client.log.last('disconnected'), 'the client gives up');
  s.equal(event.code, code, `disconnect code (${event.reason})`);
  s.equal(client.state, 'disconnected', 'state');
}

module.exports = {
  'a client without a token connects anonymously': async (s) => {
    const client = await s.connected(null);
    const event = client.log.last('connected');
    s.ok(event.client.length > 0, 'the server names the client');
    s.equal(event.transport, s.harness.transport, 'transport');
  },

  'a client with a token connects as its user': async (s) => {
    const client = await s.connected('alice');
    const channel = s.channel();
    await s.subscribed(client, channel);
    const { clients } = await client.presence(channel);
    s.equal(Object.values(clients).map((info) => info.user), [s.user('alice')], 'present');
    s.ok(clients[client.log.last('connected').client], 'under the id the server gave');
  },

  'a token signed by another key ends the client with 3500': async (s) => {
    const client = s.client({ token: await s.token('alice', { key: 'another' }) });
    client.connect();
    await ends(s, client, 3500);
  },

  'a token that is no token ends the client with 3500': async (s) => {
    const client = s.client({ token: 'no.token.this' });
    client.connect();
    await ends(s, client, 3500);
  },

  'a token that is not valid yet ends the client with 3500': async (s) => {
    const client = s.client({ token: await s.token('alice', { nbf: 3600 }) });
    client.connect();
    await ends(s, client, 3500);
  },

  'where a token is needed a client without one is unauthorized': async (s) => {
    const client = s.client({}, 'strict');
    client.connect();
    await ends(s, client, 101);
  },

  'where a token is needed a client that fetches one connects': async (s) => {
    const options = { getToken: () => s.token('alice') };
    const client = s.client(options, 'strict');
    client.connect();
    await s.until(() => client.log.last('connected'), 'connected');
  },

  'a client that may not have a token is unauthorized': async (s) => {
    const client = s.client({
      getToken: async () => { throw new s.harness.UnauthorizedError('not you'); },
    });
    client.connect();
    await ends(s, client, 1);
  },

  'the name in a token is shown to others': async (s) => {
    const channel = s.channel();
    const client = await s.connected('alice', { token: await s.token('alice', { name: 'Ann' }) });
    const { log } = await s.subscribed(client, channel);
    await client.publish(channel, s.encode(1));
    const pub = await s.until(() => log.last('publication'), 'publication');
    s.equal(s.decode(pub.info.connInfo), { name: 'Ann' }, 'with a publication');
    const [present] = Object.values((await client.presence(channel)).clients);
    s.equal(s.decode(present.connInfo), { name: 'Ann' }, 'in the presence');
  },

  'a user has ten connections, and one more when one of them ends': async (s) => {
    const clients = [];
    for (let n = 0; n < 10; n += 1) clients.push(await s.connected('alice'));
    const over = s.client({ token: await s.token('alice') });
    over.connect();
    await s.settled(clients[0]);
    s.ok(clients.every((one) => one.state === 'connected'), 'the ten stay');
    s.equal(over.state, 'connecting', 'the eleventh');
    clients[0].disconnect();
    await s.until(() => over.state === 'connected', 'the eleventh is let in by itself');
    s.ok(clients.slice(1).every((one) => one.state === 'connected'), 'the others stay');
  },

  'an unknown rpc method answers 108': async (s) => {
    const client = await s.connected();
    await s.refused(client.rpc('no.such.method', s.encode({})), 108, 'rpc');
  },

  'send gets no reply and the connection goes on': async (s) => {
    const client = await s.connected();
    await client.send(s.encode({ typing: { channel: 'room:none', on: true } }));
    await s.refused(client.rpc('no.such.method', s.encode({})), 108, 'rpc after send');
    s.equal(client.log.all('connected').length, 1, 'connects');
  },

  'a client disconnects and connects again': async (s) => {
    const client = await s.connected();
    const first = client.log.last('connected').client;
    client.disconnect();
    await s.until(() => client.state === 'disconnected', 'disconnected');
    client.connect();
    await s.until(() => client.log.all('connected').length === 2, 'connected again');
    s.ok(client.log.last('connected').client !== first, 'under a new id');
  },

  'two connections of one user are two clients': async (s) => {
    const [one, two] = [await s.connected('alice'), await s.connected('alice')];
    s.ok(one.log.last('connected').client !== two.log.last('connected').client, 'ids differ');
  },
};
