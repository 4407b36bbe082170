//! The numbers of the protocol, each with its words: error, disconnect and unsubscribe codes.
//!
//! The one table of all codes; docs/PROTOCOL.md prints it and a test holds the two equal.
//! Errors 100-113 and disconnects below 4000 are the Centrifuge protocol's, the rest ours.
//!
//! Invariant: clients decide by ranges alone. Disconnects 3000-3499 and 4000-4499 reconnect,
//! 3500-3999 and 4500-4999 are final; an unsubscribe below 2500 is final, from 2500 the client
//! subscribes again.

/// Defines an enum of codes: the variants, their numbers and their words, in one table.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident, $text:ident, {
        $($(#[$doc:meta])* $variant:ident = $code:literal, $words:literal;)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> u32 {
                match self { $(Self::$variant => $code),+ }
            }

            /// The words beside the number.
            #[must_use]
            pub const fn $text(self) -> &'static str {
                match self { $(Self::$variant => $words),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} {}", self.code(), self.$text())
            }
        }
    };
}

codes! {
    /// Why a command was refused.
    ErrorCode, message, {
        /// Something of ours failed.
        Internal = 100, "internal server error";
        /// The connection may not do this without a (valid) token.
        Unauthorized = 101, "unauthorized";
        /// No such channel, or no such namespace.
        UnknownChannel = 102, "unknown channel";
        /// The namespace, the token or the role forbids it.
        PermissionDenied = 103, "permission denied";
        /// The command exists in the protocol and means nothing here.
        MethodNotFound = 104, "method not found";
        /// The connection is in the channel already.
        AlreadySubscribed = 105, "already subscribed";
        /// A limit of the connection, such as its number of channels.
        LimitExceeded = 106, "limit exceeded";
        /// The command's content makes no sense.
        BadRequest = 107, "bad request";
        /// The feature is off for this channel or does not exist.
        NotAvailable = 108, "not available";
        /// The token has expired: SDKs fetch another and try again.
        TokenExpired = 109, "token expired";
        /// The connection or subscription has expired.
        Expired = 110, "expired";
        /// Too many commands at once.
        TooManyRequests = 111, "too many requests";
        /// The position asked for lies outside what is kept.
        UnrecoverablePosition = 112, "unrecoverable position";
        /// A page of a kind of subscription that is not served here.
        ConcurrentPagination = 113, "concurrent pagination";
        /// A field has a value that is not allowed.
        Validation = 400, "validation failed";
        /// The token lacks the second factor.
        SecondFactor = 401, "second factor needed";
        /// The user is muted or banned.
        Muted = 403, "muted or banned";
        /// No such object.
        NotFound = 404, "not found";
        /// The object changed meanwhile.
        Conflict = 409, "conflict";
        /// The body is over the limit.
        TooLarge = 413, "too large";
        /// Moderation refused the content.
        Moderated = 422, "refused by moderation";
        /// Slow mode: too soon after the last message.
        SlowMode = 423, "slow mode";
        /// Too many publications.
        RateLimited = 429, "rate limited";
        /// The store cannot be reached; nothing was done.
        StoreUnavailable = 503, "store unavailable";
    }
}

impl ErrorCode {
    /// Whether the same command may succeed later without any change.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Internal | Self::TooManyRequests | Self::StoreUnavailable)
    }
}

codes! {
    /// Why the server closed a connection.
    DisconnectCode, reason, {
        Shutdown = 3001, "shutdown";
        ServerError = 3004, "internal server error";
        ConnectionExpired = 3005, "connection expired";
        SubscriptionExpired = 3006, "subscription expired";
        /// The client does not read what is sent to it.
        Slow = 3008, "slow";
        InsufficientState = 3010, "insufficient state";
        ForceReconnect = 3011, "force reconnect";
        NoPong = 3012, "no pong";
        TooManyRequests = 3013, "too many requests";
        StateInvalidated = 3014, "state invalidated";
        InvalidToken = 3500, "invalid token";
        BadRequest = 3501, "bad request";
        /// No `connect` command in time.
        Stale = 3502, "stale";
        Forced = 3503, "force disconnect";
        ChannelLimit = 3505, "channel limit";
        PermissionDenied = 3507, "permission denied";
        TooManyErrors = 3509, "too many errors";
        /// Another node serves this client better.
        Moved = 4000, "moved";
        Overloaded = 4001, "overloaded";
        /// Some of the person's connections may be dead, which takes half a minute to find: not
        /// 3504, which SDKs take for the end.
        ConnectionLimit = 4002, "connection limit";
        Banned = 4500, "banned";
        SessionRevoked = 4501, "session revoked";
    }
}

impl DisconnectCode {
    /// Whether the client is to come back.
    #[must_use]
    pub const fn reconnect(self) -> bool {
        matches!(self.code(), 3000..=3499 | 4000..=4499)
    }
}

codes! {
    /// Why the server ended a subscription.
    UnsubscribeCode, reason, {
        /// The server unsubscribed the client.
        Server = 2000, "server unsubscribe";
        /// Publications were missed: subscribe again and recover.
        InsufficientState = 2500, "insufficient state";
        /// The subscription token expired.
        Expired = 2501, "subscription expired";
        /// Drop the token and what was cached, then subscribe again.
        StateInvalidated = 2502, "state invalidated";
    }
}

impl UnsubscribeCode {
    /// Whether the client is to subscribe again.
    #[must_use]
    pub const fn resubscribe(self) -> bool {
        self.code() >= 2500
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_ordered_and_never_without_words() {
        let tables: [Vec<(u32, &str)>; 3] = [
            ErrorCode::ALL.iter().map(|c| (c.code(), c.message())).collect(),
            DisconnectCode::ALL.iter().map(|c| (c.code(), c.reason())).collect(),
            UnsubscribeCode::ALL.iter().map(|c| (c.code(), c.reason())).collect(),
        ];
        for table in tables {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0), "{table:?}");
            assert!(table.iter().all(|(_, words)| !words.is_empty()), "{table:?}");
        }
    }

    #[test]
    fn whether_to_come_back_follows_the_ranges_of_the_protocol() {
        assert!(DisconnectCode::Shutdown.reconnect());
        assert!(DisconnectCode::Moved.reconnect());
        assert!(!DisconnectCode::InvalidToken.reconnect());
        assert!(!DisconnectCode::Banned.reconnect());
        assert!(!UnsubscribeCode::Server.resubscribe());
        assert!(UnsubscribeCode::Expired.resubscribe());
    }
}
