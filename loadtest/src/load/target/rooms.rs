//! Rooms to talk in, made by the real protocol before anything is measured.
//!
//! Anybody may listen in them; one user speaks in each. Rooms are made one after the other on one
//! connection: a few thousand a second, and in the order of their numbers.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use chassis::auth::{NewToken, mint};
use chassis::testing::client_config;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Trust;
use crate::check::client::Link;

/// Who makes all rooms.
const OWNER: &str = "owner";

/// Their token is used once.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Longest until a connection is there.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Makes a public room for each of these users, who is a member of it; gives their channels.
pub(super) async fn make(
    door: SocketAddr,
    trust: Option<&Trust>,
    secret: &str,
    speakers: impl Iterator<Item = String>,
) -> Result<Vec<String>> {
    let stream = timeout(CONNECT_MAX, TcpStream::connect(door));
    let stream = stream.await.with_context(|| format!("{door} does not answer"))??;
    stream.set_nodelay(true)?;
    let Some(trust) = trust else { return make_over(stream, door, secret, speakers).await };
    let connector = TlsConnector::from(client_config(&trust.certificates, &[]));
    let name = ServerName::try_from(trust.name.clone()).context("the name of a certificate")?;
    let shaken = timeout(CONNECT_MAX, connector.connect(name, stream));
    let stream = shaken.await.with_context(|| format!("{door} does not shake hands"))??;
    make_over(stream, door, secret, speakers).await
}

async fn make_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    door: SocketAddr,
    secret: &str,
    speakers: impl Iterator<Item = String>,
) -> Result<Vec<String>> {
    let link = Link::over(stream, door).await;
    let mut link = link.map_err(|_gone| anyhow!("{door} is no chat-server"))?;
    link.greet(&token(secret)).await?;
    let mut channels = Vec::new();
    for (number, speaker) in speakers.enumerate() {
        let data = json!({ "name": format!("room {number}"), "visibility": "public",
                           "members": [speaker] });
        let command = json!({ "rpc": { "method": "room.create", "data": data } });
        let reply = link.ask(command).await?;
        let channel = reply["rpc"]["data"]["channel"].as_str().context("a room has a channel")?;
        channels.push(channel.to_owned());
    }
    Ok(channels)
}

fn token(secret: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let user = Some(OWNER.parse().expect("letters are the id of a user"));
    let (issued_at, ttl) = (now.as_secs(), Some(TOKEN_LIFE));
    mint(&secret.into(), &NewToken { user, issued_at, ttl, ..NewToken::default() })
}
