//! Who is at the other end of a Unix socket, as the kernel knows it (`SO_PEERCRED`).

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The user of the process that connected or listened.
pub fn user(socket: impl AsFd) -> Option<u32> {
    rustix::net::sockopt::socket_peercred(socket).ok().map(|peer| peer.uid.as_raw())
}

/// Whether whoever listens may be the agent: root, who we are, or the owner of the socket's directory. Somebody else may
/// have put a socket there first, as anybody can in /tmp.
pub fn may_be_agent(user: u32, socket: &Path) -> bool {
    let owner = || socket.parent().and_then(|folder| std::fs::metadata(folder).ok()).map(|folder| folder.uid());
    user == 0 || user == rustix::process::geteuid().as_raw() || owner() == Some(user)
}
