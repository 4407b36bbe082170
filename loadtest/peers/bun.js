// Bun's WebSocket server as a peer: whoever connects to /room/NAME is in that room and hears
// everything that anyone sends there, itself included.
//
//   bun bun.js PORT
//
// One process, as Bun runs by default: its loop is native code, and its own publish is what its
// makers recommend for fan-out. It ends when its standard input does, so that it never outlives
// whoever started it.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    const room = new URL(request.url).pathname;
    if (server.upgrade(request, { data: { room } })) return undefined;
    return new Response("a WebSocket only", { status: 426 });
  },
  websocket: {
    // Messages are short and made of noise: compressing them would only cost.
    perMessageDeflate: false,
    open(socket) {
      socket.subscribe(socket.data.room);
    },
    message(socket, message) {
      // The server's publish, not the socket's: the publisher hears its own message too.
      server.publish(socket.data.room, message);
    },
  },
});

process.stdin.on("end", () => {
  server.stop(true);
  process.exit(0);
});
process.stdin.resume();
