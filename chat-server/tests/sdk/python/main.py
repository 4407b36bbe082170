"""Drives a chat-server with the unmodified Python SDK and reports one line per check.

    python main.py json|protobuf [theme..]

The first line on stdin is JSON with the addresses. Checks print `ok NAME` or `FAIL NAME: why`;
`ASK` lines go to the Rust harness, which owns the server. Exits 0 only when every check held.
"""

import asyncio
import importlib
import logging
import sys

from harness import Harness

THEMES = ["connecting", "tokens", "closing", "channels", "history", "recovery", "server_side",
          "loops", "rooms"]

# Checks that wait for a token to end do so side by side.
TOGETHER = {"tokens"}


async def main() -> int:
    # What the SDK logs on its way through refusals is expected; what matters fails a check.
    logging.disable(logging.CRITICAL)
    form, *wanted = sys.argv[1:]
    harness = await Harness.start(form)
    # Themes use users and channels of their own, so they run side by side.
    themes = {name: importlib.import_module(f"themes.{name}") for name in wanted or THEMES}
    runs = (harness.run(module, name in TOGETHER) for name, module in themes.items())
    await asyncio.gather(*runs)
    return 1 if harness.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
