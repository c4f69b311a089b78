//! Who is at the other end of a Unix socket, as the kernel knows it (`SO_PEERCRED`).

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The process that connected or listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub user: u32,
    /// 0 if it is in a container whose processes have other numbers.
    pub process: u32,
}

impl Peer {
    pub fn of(socket: impl AsFd) -> Option<Self> {
        let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        let socket = socket.as_fd().as_raw_fd();
        // Not rustix's: a process of another container has the number 0 here, which its type does not have.
        // SAFETY: the descriptor is open; the kernel writes at most `len` bytes to `found`, any bits of which are a value.
        let done = unsafe {
            libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut found).cast(), &raw mut len)
        };
        let whole = len as usize == size_of::<libc::ucred>();
        (done == 0 && whole).then(|| Self { user: found.uid, process: u32::try_from(found.pid).unwrap_or_default() })
    }
}

/// Whether whoever listens may be the agent: root, who we are, or the owner of the socket's directory. Somebody else may
/// have put a socket there first, as anybody can in /tmp.
pub fn may_be_agent(user: u32, socket: &Path) -> bool {
    let owner = || socket.parent().and_then(|folder| std::fs::metadata(folder).ok()).map(|folder| folder.uid());
    user == 0 || user == rustix::process::geteuid().as_raw() || owner() == Some(user)
}
