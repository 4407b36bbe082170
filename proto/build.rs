//! Generates Rust from the .proto files with prost. protox parses them: no protoc is needed.

use std::error::Error;

/// Messages that carry a token, a session secret or the commands behind them: the crate writes
/// their `Debug` by hand.
const SECRET: [&str; 7] = [
    ".veza.bus.v1.Commands",
    ".veza.client.v1.ConnectRequest",
    ".veza.client.v1.SubscribeRequest",
    ".veza.client.v1.RefreshRequest",
    ".veza.client.v1.SubRefreshRequest",
    ".veza.client.v1.ConnectResult",
    ".veza.client.v1.EmulationRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = "proto";
    let files = ["veza/bus/v1/bus.proto", "veza/client/v1/client.proto"];
    println!("cargo::rerun-if-changed={root}");
    let descriptors = protox::compile(files, [root])?;
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .skip_debug(SECRET)
        .compile_fds(descriptors)?;
    Ok(())
}
