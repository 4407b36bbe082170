//! Generated messages of `veza/client/v1/client.proto`, and the `Debug` of those with secrets.

use std::fmt;

#[expect(clippy::doc_markdown, reason = "the comments are written for .proto readers")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/veza.client.v1.rs"));
}

pub use self::generated::*;

/// Writes the fields named and leaves the others, which are secret or large, out.
macro_rules! debug_without_secrets {
    ($($name:ident { $($field:ident),* })+) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        })+
    };
}

debug_without_secrets! {
    ConnectRequest { subs, name, version, flag, veza }
    SubscribeRequest { channel, recover, epoch, offset, flag, r#type }
    RefreshRequest {}
    SubRefreshRequest { channel, r#type }
    ConnectResult { client, version, expires, ttl, subs, ping, pong, node, veza }
    EmulationRequest { node }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_secret() {
        let token = "token-7f3a".to_owned();
        let request = ConnectRequest { token: token.clone(), ..Default::default() };
        let command = Command { id: 1, connect: Some(request), ..Default::default() };
        let result = ConnectResult { session: token.clone(), ..Default::default() };
        let emulation = EmulationRequest { session: token, ..Default::default() };
        let output = format!("{command:?} {result:?} {emulation:?}");
        assert!(output.contains("ConnectRequest") && !output.contains("7f3a"), "{output}");
    }
}
