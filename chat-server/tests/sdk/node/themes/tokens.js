'use strict';
// Tokens end: connection and subscription tokens are refreshed before and after they expired.

const TTL = 2;

module.exports = {
  'a connection token is refreshed and the connection stays': async (s) => {
    let refreshes = 0;
    const client = await s.connected('alice', {
      token: await s.token('alice', { ttl: TTL }),
      getToken: async () => {
        refreshes += 1;
        return s.token('alice', { ttl: refreshes === 1 ? TTL : 3600 });
      },
    });
    // The second refresh shows that the first was accepted after the first token's end.
    await s.until(() => refreshes === 2 || client.log.last('disconnected'), 'two refreshes');
    await s.settled(client);
    s.equal(refreshes, 2, 'refreshes');
    s.equal(client.log.all('connected').length, 1, 'connects');
    s.equal(client.log.all('error'), [], 'errors');
  },

  'a token that expired before connecting is fetched anew': async (s) => {
    let fetches = 0;
    const client = s.client({
      token: await s.token('alice', { ttl: -3600 }),
      getToken: async () => {
        fetches += 1;
        return s.token('alice');
      },
    });
    client.connect();
    await s.until(() => client.log.last('connected'), 'connected');
    s.equal(fetches, 1, 'fetches');
    s.equal(client.log.all('error').map((event) => event.error.code), [109], 'errors');
  },

  'a token that expired and cannot be fetched ends the client': async (s) => {
    const client = s.client({ token: await s.token('alice', { ttl: -3600 }) });
    client.connect();
    const event = await s.until(() => client.log.last('disconnected'), 'the client gives up');
    s.equal([event.code, event.reason], [1, 'unauthorized'], 'code and reason');
  },

  'a client whose token is not renewed is unauthorized': async (s) => {
    const client = await s.connected('alice', {
      token: await s.token('alice', { ttl: TTL }),
      getToken: async () => { throw new s.harness.UnauthorizedError('no more'); },
    });
    const event = await s.until(() => client.log.last('disconnected'), 'the client gives up');
    s.equal([event.code, event.reason], [1, 'unauthorized'], 'code and reason');
  },

  'a refresh with a bad token ends the client with 3500': async (s) => {
    const client = await s.connected('alice', {
      token: await s.token('alice', { ttl: TTL }),
      getToken: () => s.token('alice', { key: 'another' }),
    });
    const event = await s.until(() => client.log.last('disconnected'), 'the client gives up');
    s.equal(event.code, 3500, `code (${event.reason})`);
  },

  'a refresh with a token of another user ends the client': async (s) => {
    const client = await s.connected('alice', {
      token: await s.token('alice', { ttl: TTL }),
      getToken: () => s.token('mallory'),
    });
    const event = await s.until(() => client.log.last('disconnected'), 'the client gives up');
    s.equal(event.code, 3500, `code (${event.reason})`);
  },

  'a refresh with an expired token connects anew': async (s) => {
    let fetches = 0;
    const client = await s.connected('alice', {
      token: await s.token('alice', { ttl: TTL }),
      getToken: async () => {
        fetches += 1;
        return s.token('alice', { ttl: fetches === 1 ? -3600 : 3600 });
      },
    });
    await s.until(
      () => client.log.all('connected').length === 2 || client.log.last('disconnected'),
      'connected again',
    );
    s.equal(client.log.all('disconnected'), [], 'disconnects');
    s.equal(client.log.all('connecting').at(-1).code, 3005, 'code');
  },

  'a subscription token is refreshed and the subscription stays': async (s) => {
    const channel = s.channel('private');
    const client = await s.connected('alice');
    let fetches = 0;
    const subscription = await s.subscribed(client, channel, {
      getToken: async () => {
        fetches += 1;
        return s.token('alice', { channel, ttl: fetches < 3 ? TTL : 3600 });
      },
    });
    await s.until(() => fetches === 3 || subscription.log.last('unsubscribed'), 'two refreshes');
    await subscription.publish(s.encode('still here'));
    await s.until(() => subscription.log.last('publication'), 'publication');
    s.equal(fetches, 3, 'fetches');
    s.equal(subscription.log.all('subscribed').length, 1, 'subscribes');
  },

  'a subscription token that expired before subscribing is fetched anew': async (s) => {
    const channel = s.channel('private');
    const client = await s.connected('alice');
    let fetches = 0;
    const subscription = await s.subscribed(client, channel, {
      token: await s.token('alice', { channel, ttl: -3600 }),
      minResubscribeDelay: 20,
      getToken: async () => {
        fetches += 1;
        return s.token('alice', { channel });
      },
    });
    s.equal(fetches, 1, 'fetches');
    s.equal(subscription.log.all('error').map((event) => event.error.code), [109], 'errors');
  },

  'a subscription token that is not renewed ends the subscription': async (s) => {
    const channel = s.channel('private');
    const client = await s.connected('alice');
    let fetches = 0;
    const subscription = await s.subscribed(client, channel, {
      getToken: async () => {
        fetches += 1;
        if (fetches > 1) throw new s.harness.UnauthorizedError('no more');
        return s.token('alice', { channel, ttl: TTL });
      },
    });
    const event = await s.until(() => subscription.log.last('unsubscribed'), 'unsubscribed');
    s.equal([event.code, event.reason], [1, 'unauthorized'], 'code and reason');
    await s.settled(client);
  },

  'a subscription refresh with a bad token ends the subscription with 103': async (s) => {
    const channel = s.channel('private');
    const client = await s.connected('alice');
    let fetches = 0;
    const subscription = await s.subscribed(client, channel, {
      getToken: async () => {
        fetches += 1;
        const bad = fetches > 1 ? { key: 'another' } : { ttl: TTL };
        return s.token('alice', { channel, ...bad });
      },
    });
    const event = await s.until(() => subscription.log.last('unsubscribed'), 'unsubscribed');
    s.equal(event.code, 103, `code (${event.reason})`);
    s.equal(client.state, 'connected', 'client');
  },
};
