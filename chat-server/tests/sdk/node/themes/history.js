'use strict';
// History: forward, backward, from a position, limited, unlimited and without publications.

async function filled(s, count = 5) {
  const client = await s.connected();
  const subscription = await s.subscribed(client, s.channel());
  for (let n = 1; n <= count; n += 1) await subscription.publish(s.encode({ n }));
  const numbers = (page) => page.publications.map((pub) => s.decode(pub.data).n);
  return { client, subscription, numbers, channel: subscription.channel };
}

module.exports = {
  'history forward is in order': async (s) => {
    const { subscription, numbers } = await filled(s);
    const page = await subscription.history({ limit: 10 });
    s.equal(numbers(page), [1, 2, 3, 4, 5], 'publications');
    s.equal(page.publications.map((pub) => pub.offset), [1, 2, 3, 4, 5], 'offsets');
    s.equal(page.offset, 5, 'top offset');
    s.ok(page.epoch.length > 0, 'epoch');
  },

  'history backward starts at the newest': async (s) => {
    const { subscription, numbers } = await filled(s);
    s.equal(numbers(await subscription.history({ limit: 10, reverse: true })), [5, 4, 3, 2, 1],
      'all');
    s.equal(numbers(await subscription.history({ limit: 2, reverse: true })), [5, 4], 'limited');
  },

  'history is limited': async (s) => {
    const { subscription, numbers } = await filled(s);
    const page = await subscription.history({ limit: 2 });
    s.equal(numbers(page), [1, 2], 'the oldest two');
    s.equal(page.offset, 5, 'top offset');
  },

  'history pages from a position': async (s) => {
    const { subscription, numbers } = await filled(s);
    const { epoch } = await subscription.history();
    const page = (since, more = {}) => (
      subscription.history({ limit: 2, since: { offset: since, epoch }, ...more })
    );
    s.equal(numbers(await page(2)), [3, 4], 'after 2');
    s.equal(numbers(await page(4)), [5], 'after 4');
    s.equal(numbers(await page(5)), [], 'after the top');
    s.equal(numbers(await page(4, { reverse: true })), [3, 2], 'before 4');
  },

  'history of limit -1 is all there is': async (s) => {
    const { subscription, numbers } = await filled(s, 7);
    s.equal(numbers(await subscription.history({ limit: -1 })), [1, 2, 3, 4, 5, 6, 7], 'all');
  },

  'history of limit 0 is the position alone': async (s) => {
    const { subscription } = await filled(s);
    for (const options of [{ limit: 0 }, undefined]) {
      const page = await subscription.history(options);
      s.equal(page.publications, [], 'publications');
      s.equal(page.offset, 5, 'offset');
      s.ok(page.epoch.length > 0, 'epoch');
    }
  },

  'history below limit -1 is a bad request': async (s) => {
    const { subscription } = await filled(s, 1);
    await s.refused(subscription.history({ limit: -2 }), 107, 'limit -2');
  },

  'history from another epoch answers 112': async (s) => {
    const { subscription } = await filled(s, 1);
    const since = { offset: 0, epoch: 'another-life' };
    await s.refused(subscription.history({ limit: 1, since }), 112, 'epoch');
  },

  'history of a channel never used is empty': async (s) => {
    const client = await s.connected();
    const page = await client.history(s.channel(), { limit: 10 });
    s.equal(page.publications, [], 'publications');
    s.equal(page.offset, 0, 'offset');
  },

  'a long history is read page by page': async (s) => {
    const channel = s.channel('long');
    await s.ask('burst', { channel, from: 1, to: 600, padding: 2000 });
    const client = await s.connected();
    const read = async (reverse) => {
      const seen = [];
      for (let since, pages = 0; ; pages += 1) {
        const page = await client.history(channel, { limit: -1, since, reverse });
        if (page.publications.length === 0) return { seen, pages };
        seen.push(...page.publications.map((pub) => s.decode(pub.data).n));
        since = { offset: page.publications.at(-1).offset, epoch: page.epoch };
      }
    };
    const expected = Array.from({ length: 600 }, (_, index) => index + 1);
    const forward = await read(false);
    s.equal(forward.seen, expected, 'forward');
    s.ok(forward.pages > 2, `1.2 MB do not come in ${forward.pages} pages`);
    s.equal((await read(true)).seen, expected.reverse(), 'backward');
  },

  'history keeps its size': async (s) => {
    const client = await s.connected();
    const subscription = await s.subscribed(client, s.channel('short'));
    for (let n = 1; n <= 5; n += 1) await subscription.publish(s.encode(n));
    const page = await subscription.history({ limit: -1 });
    s.equal(page.publications.map((pub) => s.decode(pub.data)), [4, 5], 'the newest two');
    s.equal(page.offset, 5, 'top offset');
  },

  'history where none is kept answers 108': async (s) => {
    const client = await s.connected();
    await s.refused(client.history(s.channel('plain'), { limit: 1 }), 108, 'history');
  },
};
