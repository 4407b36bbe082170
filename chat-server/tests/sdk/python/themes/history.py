"""History: forward, backward, from a position, limited, unlimited and without publications."""

from centrifuge import StreamPosition


async def _filled(s, count):
    client = await s.connected()
    subscription = await s.subscribed(client, s.channel())
    for number in range(1, count + 1):
        await subscription.publish(s.encode(number))

    async def page(**options):
        history = await subscription.history(**options)
        return [s.decode(pub.data) for pub in history.publications]

    return subscription, page


async def history_forward_is_in_order(s):
    subscription, page = await _filled(s, 5)
    s.equal(await page(limit=10), [1, 2, 3, 4, 5], "publications")
    history = await subscription.history(limit=2)
    s.equal([pub.offset for pub in history.publications], [1, 2], "offsets")
    s.equal(history.offset, 5, "top offset")
    s.ok(history.epoch, "epoch")


async def history_backward_starts_at_the_newest(s):
    _, page = await _filled(s, 5)
    s.equal(await page(limit=10, reverse=True), [5, 4, 3, 2, 1], "all")
    s.equal(await page(limit=2, reverse=True), [5, 4], "limited")


async def history_pages_from_a_position(s):
    subscription, page = await _filled(s, 5)
    epoch = (await subscription.history()).epoch

    async def since(offset, **options):
        return await page(limit=2, since=StreamPosition(offset, epoch), **options)

    s.equal(await since(2), [3, 4], "after 2")
    s.equal(await since(5), [], "after the top")
    s.equal(await since(4, reverse=True), [3, 2], "before 4")


async def history_of_limit_minus_one_is_all_there_is(s):
    _, page = await _filled(s, 7)
    s.equal(await page(limit=-1), [1, 2, 3, 4, 5, 6, 7], "all")


async def history_of_limit_zero_is_the_position_alone(s):
    subscription, _ = await _filled(s, 3)
    history = await subscription.history(limit=0)
    s.equal((history.publications, history.offset), ([], 3), "publications and offset")


async def a_long_history_is_read_page_by_page(s):
    channel = s.channel("long")
    await s.ask("burst", channel=channel, **{"from": 1, "to": 600, "padding": 2000})
    client = await s.connected()

    async def read(reverse):
        seen, pages, since = [], 0, None
        while True:
            page = await client.history(channel, limit=-1, since=since, reverse=reverse)
            if not page.publications:
                return seen, pages
            seen += [s.decode(pub.data)["n"] for pub in page.publications]
            since, pages = StreamPosition(page.publications[-1].offset, page.epoch), pages + 1

    seen, pages = await read(False)
    s.equal(seen, list(range(1, 601)), "forward")
    s.ok(pages > 2, f"1.2 MB do not come in {pages} pages")
    s.equal((await read(True))[0], list(range(600, 0, -1)), "backward")


async def history_below_limit_minus_one_is_a_bad_request(s):
    subscription, _ = await _filled(s, 1)
    await s.refused(subscription.history(limit=-2), 107, "limit -2")


async def history_from_another_epoch_answers_112(s):
    subscription, _ = await _filled(s, 1)
    since = StreamPosition(0, "another-life")
    await s.refused(subscription.history(limit=1, since=since), 112, "epoch")
