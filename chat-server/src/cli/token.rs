//! `token`: a token signed with the configured secret, for development and scripts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chassis::auth::{NewToken, UserId, mint};
use clap::value_parser;

use crate::config::Config;

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The user the token is for
    #[arg(long, value_name = "ID")]
    user: UserId,
    /// The user's name, as others see it
    #[arg(long)]
    name: Option<String>,
    /// A role of the user; may be given several times
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Something the token allows; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<String>,
    /// Make it a subscription token for this channel
    #[arg(long)]
    channel: Option<String>,
    /// Seconds until the token expires
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3600,
        value_parser = value_parser!(u64).range(1..)
    )]
    ttl: u64,
}

/// The token and a line end.
pub(super) fn make(config: &Config, args: Args) -> String {
    // A clock before 1970 gives a token that expired then: refused, never believed.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let token = NewToken {
        user: Some(args.user),
        name: args.name,
        roles: args.roles,
        scope: args.scopes,
        channel: args.channel,
        issuer: config.auth.issuer.clone(),
        audience: config.auth.audience.clone(),
        issued_at: now.as_secs(),
        ttl: Some(Duration::from_secs(args.ttl)),
    };
    format!("{}\n", mint(&config.auth.secret, &token))
}

/// The claim is one text of words, so a word cannot hold a space.
fn scope(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("a scope is one word, give --scope several times");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use chassis::auth::Verifier;
    use chassis::config::Source;
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    const SETTINGS: [(&str, &str); 3] = [
        ("JWT_SECRET", "q8Zr2Xw0Lk4Vn6Bt1Ys9Hd3Gf7Jc5Mp0Ae"),
        ("JWT_ISSUER", "https://gateway.veza.live"),
        ("JWT_AUDIENCE", "chat"),
    ];

    #[tokio::test]
    async fn the_server_believes_the_token_and_all_that_was_asked_for() {
        let config = Config::load(&Source::from_pairs(SETTINGS)).unwrap();
        let line = "token --user ann --name Ann --role admin --role dj --scope ops:read \
                    --scope chat:write --ttl 60";
        let args = Line::try_parse_from(line.split_whitespace()).unwrap().args;
        let token = make(&config, args);
        let verifier = Verifier::new((&config.auth).into()).unwrap();
        let claims = verifier.verify(token.trim_end()).await.unwrap();
        assert_eq!(claims.user.as_ref().map(UserId::as_str), Some("ann"));
        assert_eq!(claims.name.as_deref(), Some("Ann"));
        assert_eq!(claims.roles.len(), 2);
    }

    #[test]
    fn a_token_that_never_lives_and_a_scope_of_two_words_are_refused() {
        assert!(Line::try_parse_from(["token", "--user", "ann", "--ttl", "0"]).is_err());
        assert!(Line::try_parse_from(["token", "--user", "ann", "--scope", "a b"]).is_err());
        assert!(Line::try_parse_from(["token", "--user", ""]).is_err());
    }
}
