//! The chat server through its sockets: one file a behaviour.

#![expect(unreachable_pub, reason = "the harness is a module of one binary")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod append;
mod append_model;
mod bad_input;
mod bad_protobuf;
mod bans;
mod channels;
mod checker;
mod command_line;
mod committer;
mod conformance;
mod direct;
mod doors;
mod emulation;
mod erasure;
mod expiry;
mod export;
mod feeds;
mod forgery;
mod gone;
mod harness;
mod history;
mod hostile_sockets;
mod kill;
mod leases;
mod limits;
mod log_pages;
mod members;
mod members_model;
mod message_bodies;
mod message_calls;
mod messages;
mod migrations;
mod namespaces;
mod nodes;
mod presence;
mod protocol_page;
mod reactions;
mod read_marks;
mod retention;
mod room_flow;
mod room_lists;
mod room_names;
mod rooms;
mod sdk;
mod server_side;
mod shutdown;
mod shutdown_under_load;
mod silence;
mod slow_clients;
mod store_away;
mod tls;
mod tokens;
mod walkthrough;
