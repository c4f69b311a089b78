//! `[client]` of `alikms.toml`.

use serde::Deserialize;
use toml::Spanned;

use super::{File, Source, Text};
use crate::config::{AgentConfig, ClientConfig};
use crate::error::Result;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    socket: Text,
    deadline: Option<Spanned<u64>>,
}

impl Source<'_> {
    /// Of a file with a `[client]` table.
    pub(super) fn client(&self, file: File) -> Result<ClientConfig> {
        let others = [
            ("[store]", file.store.map(|table| table.span())),
            ("[unlock]", file.unlock.map(|table| table.span())),
            ("[audit]", file.audit.map(|table| table.span())),
            ("[agent]", file.agent.map(|table| table.span())),
            ("[[device]]", file.device.first().map(Spanned::span)),
            ("[[token]]", file.token.first().map(Spanned::span)),
        ];
        if let Some((name, span)) = others.into_iter().find_map(|(name, span)| Some((name, span?))) {
            let reason = format!(
                "{name} cannot stand beside [client]: store, devices, tokens and audit trail are the agent's, and written \
                 in its alikms.toml. Remove one of the two"
            );
            return Err(self.fault(span, reason));
        }
        let mut agent = AgentConfig::default();
        if let Some(Client { socket, deadline }) = file.client.map(Spanned::into_inner) {
            self.socket(socket, &mut agent)?;
            self.deadline(deadline, &mut agent)?;
        }
        Ok(ClientConfig { path: self.path.to_owned(), socket: agent.socket, deadline: agent.deadline })
    }
}
