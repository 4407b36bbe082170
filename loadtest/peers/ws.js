// Node with `ws` as a peer: whoever connects to /room/NAME is in that room and hears everything
// that anyone sends there, itself included.
//
//   node ws.js PORT
//
// One process and the broadcast of the package's own manual: `send` to every open client of a set.
// The message goes out as the buffer it came in as, so that it is not encoded again for each
// member; `ws` frames it for each member, and has no public way to frame it once. `bufferutil`, the
// native addition that the manual recommends for speed, is installed beside it and found by itself.
// It ends when its standard input does, so that it never outlives whoever started it.

const { WebSocket, WebSocketServer } = require("ws");

const rooms = new Map();

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  // Thousands of clients connect at once: the queue of the kernel holds them, not a retry.
  backlog: 4096,
  // Off by default too: messages are short and made of noise.
  perMessageDeflate: false,
  // The rooms here are the list of who is there: a second one by the server would only cost.
  clientTracking: false,
});

server.on("connection", (socket, request) => {
  const name = request.url;
  let members = rooms.get(name);
  if (members === undefined) {
    members = new Set();
    rooms.set(name, members);
  }
  members.add(socket);
  socket.on("message", (data, isBinary) => {
    for (const member of members) {
      if (member.readyState === WebSocket.OPEN) member.send(data, { binary: isBinary });
    }
  });
  socket.on("error", () => socket.terminate());
  socket.on("close", () => {
    members.delete(socket);
    if (members.size === 0) rooms.delete(name);
  });
});

process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
