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
/// In seconds. Longer, and who waits cannot tell it from never.
const DEADLINES: std::ops::RangeInclusive<u64> = 1..=600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    socket: Text,
    allow: Option<Spanned<Vec<User>>>,
    deadline: Option<Spanned<u64>>,
}

impl Source<'_> {
    pub(super) fn agent(&self, table: Spanned<Agent>) -> Result<AgentConfig> {
        let Agent { socket, allow, deadline } = table.into_inner();
        let mut agent = AgentConfig::default();
        if let Some(socket) = socket {
            agent.socket = self.absolute("socket", &socket)?;
            if agent.socket.as_os_str().as_bytes().len() > LONGEST || agent.socket.file_name().is_none() {
                let reason = format!("socket is the path of a file, of at most {LONGEST} bytes: {}", example("socket"));
                return Err(self.fault(socket.span(), reason));
            }
        }
        if let Some(allow) = allow {
            if allow.get_ref().is_empty() {
                let reason = "allow is empty, so that nobody could use the agent: remove it, or name users";
                return Err(self.fault(allow.span(), reason.into()));
            }
            agent.allow = Some(allow.into_inner());
        }
        if let Some(deadline) = deadline {
            if !DEADLINES.contains(deadline.get_ref()) {
                let (least, most) = DEADLINES.into_inner();
                let reason = format!("deadline is {least} to {most} seconds: {}", example("deadline"));
                return Err(self.fault(deadline.span(), reason));
            }
            agent.deadline = Duration::from_secs(deadline.into_inner());
        }
        Ok(agent)
    }
}
