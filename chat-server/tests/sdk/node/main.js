'use strict';
// Drives a chat-server with the unmodified JavaScript SDK and reports one line per check.
//
//   node main.js websocket|sse|http_stream json|protobuf [theme..]
//
// The first line on stdin is JSON with the addresses (`Harness` in harness.js names them). Checks
// print `ok NAME` or `FAIL NAME: why`; `ASK` lines go to the Rust harness, which owns the server.
// Exits 0 only when every check held.

const path = require('node:path');
const { Harness } = require('./harness');

const THEMES = [
  'connect', 'channels', 'history', 'presence', 'recovery', 'tokens', 'closing', 'server_side',
  'batches', 'loops', 'rooms',
];

// Checks that wait for a token to end do so side by side.
const TOGETHER = ['tokens'];

async function main() {
  const [transport, format, ...wanted] = process.argv.slice(2);
  const harness = await Harness.start(transport, format);
  const themes = wanted.length > 0 ? wanted : THEMES;
  // Themes use users and channels of their own, so they run side by side.
  await Promise.all(themes.map((name) => {
    const checks = require(path.join(__dirname, 'themes', `${name}.js`));
    return harness.run(name, checks, TOGETHER.includes(name));
  }));
  process.exit(harness.failed === 0 ? 0 : 1);
}

main().catch((error) => {
  process.stdout.write(`FAIL main: ${error.stack}\n`);
  process.exit(1);
});
