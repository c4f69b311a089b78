//! `[agent]` of `alikms.toml`.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{Source, Text, example};
use crate::config::{AgentConfig, User};
use crate::error::Result;

/// The longest path of a socket, in bytes (`sun_path` without its end, unix(7)), less what the agent's own files add.
const LONGEST: usize = 100;
/// Each is a process.
const CLIENTS: std::ops::RangeInclusive<usize> = 1..=1000;
/// In seconds. Longer, and who waits cannot tell it from never.
const DEADLINES: std::ops::RangeInclusive<u64> = 1..=600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    socket: Text,
    allow: Option<Spanned<Vec<User>>>,
    deadline: Option<Spanned<u64>>,
    tokens: Option<bool>,
    clients: Option<Spanned<usize>>,
}

impl Source<'_> {
    pub(super) fn agent(&self, table: Spanned<Agent>) -> Result<AgentConfig> {
        let Agent { socket, allow, deadline, tokens, clients } = table.into_inner();
        let mut agent = AgentConfig { tokens: tokens.unwrap_or(false), ..AgentConfig::default() };
        self.socket(socket, &mut agent)?;
        self.deadline(deadline, &mut agent)?;
        if let Some(allow) = allow {
            if allow.get_ref().is_empty() {
                let reason = "allow is empty, so that nobody could use the agent: remove it, or name users";
                return Err(self.fault(allow.span(), reason.into()));
            }
            agent.allow = Some(allow.into_inner());
        }
        if let Some(clients) = clients {
            if !CLIENTS.contains(clients.get_ref()) {
                let (least, most) = CLIENTS.into_inner();
                let reason = format!("clients is {least} to {most} processes: {}", example("clients"));
                return Err(self.fault(clients.span(), reason));
            }
            agent.clients = clients.into_inner();
        }
        Ok(agent)
    }

    pub(super) fn socket(&self, socket: Text, agent: &mut AgentConfig) -> Result<()> {
        let Some(socket) = socket else { return Ok(()) };
        agent.socket = self.absolute("socket", &socket)?;
        if agent.socket.as_os_str().as_bytes().len() > LONGEST || agent.socket.file_name().is_none() {
            let reason = format!("socket is the path of a file, of at most {LONGEST} bytes: {}", example("socket"));
            return Err(self.fault(socket.span(), reason));
        }
        Ok(())
    }

    pub(super) fn deadline(&self, deadline: Option<Spanned<u64>>, agent: &mut AgentConfig) -> Result<()> {
        let Some(deadline) = deadline else { return Ok(()) };
        if !DEADLINES.contains(deadline.get_ref()) {
            let (least, most) = DEADLINES.into_inner();
            let reason = format!("deadline is {least} to {most} seconds: {}", example("deadline"));
            return Err(self.fault(deadline.span(), reason));
        }
        agent.deadline = Duration::from_secs(deadline.into_inner());
        Ok(())
    }
}
