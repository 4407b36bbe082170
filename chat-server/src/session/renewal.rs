//! Longer permissions: of the connection, and of one channel.

use secrecy::SecretString;

use super::Session;
use super::dispatch::{caller, in_time};
use crate::command::{self, Refusal};
use crate::protocol::{RefreshResult, ReplyBody};

impl Session {
    pub(super) async fn refresh(
        &mut self,
        token: Option<&SecretString>,
    ) -> Result<ReplyBody, Refusal> {
        let caller = caller(&self.identity, &self.subs)?;
        let renewal = in_time(command::refresh(&self.services, caller, token)).await?;
        Ok(ReplyBody::Refresh(self.renew(renewal.expires_at)))
    }

    pub(super) async fn sub_refresh(
        &mut self,
        channel: &str,
        token: Option<&SecretString>,
    ) -> Result<ReplyBody, Refusal> {
        let caller = caller(&self.identity, &self.subs)?;
        let renewal = command::sub_refresh(&self.services, caller, channel, token);
        let renewal = in_time(renewal).await?;
        self.subs.renew(channel, renewal.expires_at);
        self.expiry_changed();
        Ok(ReplyBody::SubRefresh { ttl: command::ttl(renewal.expires_at) })
    }

    fn renew(&mut self, expires_at: Option<u64>) -> RefreshResult {
        let mut client = "".into();
        if let Some(identity) = &mut self.identity {
            identity.expires_at = expires_at;
            client = identity.info.client.clone();
        }
        self.expiry_changed();
        let (version, ttl) = (self.services.version.clone(), command::ttl(expires_at));
        RefreshResult { client, version, ttl }
    }
}
