//! A connection that carries messages: whole ones, with a deadline, in memory that is wiped.
//!
//! It lives in other people's processes: it raises no SIGPIPE, and it notices when the process closed its descriptor behind
//! its back (as `closefrom` does) and the number now stands for something else.

use std::cell::Cell;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, recvmsg, send, sendmsg, socket_with, socketpair,
};

use super::message::{Greeting, HEAD, LONGEST, encode};
use crate::model::Bytes;

/// How long the rest of a message may take once it has begun, where nobody waits for it.
const REST: Duration = Duration::from_secs(10);
const GREETING: Duration = Duration::from_secs(1);
/// Most messages are shorter.
const USUAL: usize = 4096;

pub struct Line {
    /// None only while it is dropped.
    socket: Option<OwnedFd>,
    /// Device and inode, by which the descriptor is known again.
    identity: (u64, u64),
    /// What the kernel was told last about waiting for a message.
    patience: Cell<Option<Duration>>,
}

/// Why a message did not come through.
#[derive(Debug, PartialEq, Eq)]
pub enum Lost {
    /// The other side is gone.
    Closed,
    /// What came is no message.
    Garbage,
    /// The time was up.
    Late,
}

impl Line {
    pub fn new(socket: OwnedFd) -> Option<Self> {
        let identity = identity(&socket)?;
        // Who had it before may have waited for less than for ever.
        set_socket_timeout(&socket, Timeout::Recv, None).ok()?;
        Some(Self { socket: Some(socket), identity, patience: Cell::new(None) })
    }

    pub fn connect(path: &Path, deadline: Instant) -> Result<Self, Errno> {
        let address = SocketAddrUnix::new(path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // An agent that stands still lets connections queue, and then those who connect wait.
        set_socket_timeout(&socket, Timeout::Send, Some(left(deadline).ok_or(Errno::TIMEDOUT)?))?;
        while let Err(error) = connect(&socket, &address) {
            if error != Errno::INTR || Instant::now() >= deadline {
                return Err(error);
            }
        }
        Self::new(socket).ok_or(Errno::BADF)
    }

    /// The two ends of a new line.
    pub fn pair() -> Option<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
        Some((Self::new(ours)?, theirs))
    }

    /// Whether the descriptor is still that of this line.
    pub fn is_ours(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| identity(socket) == Some(self.identity))
    }

    /// Hands the end of another line over. Never waits: `Late` if it cannot be done at the moment.
    pub fn send_end(&self, end: &OwnedFd) -> Result<(), Lost> {
        let socket = self.socket().ok_or(Lost::Closed)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let ends = [end.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&ends));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            match sendmsg(socket, &[IoSlice::new(&[1])], &mut control, flags) {
                Ok(1) => return Ok(()),
                Err(Errno::INTR) => {}
                // The other side has yet to take those before, or the system has no more memory.
                Err(Errno::AGAIN | Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => return Err(Lost::Late),
                _ => return Err(Lost::Closed),
            }
        }
    }

    /// The end of a line that is handed over. Waits for ever.
    pub fn receive_end(&self) -> Result<Self, Lost> {
        let socket = self.socket().ok_or(Lost::Closed)?;
        self.be_patient(socket, None)?;
        let mut one = [0; 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(socket, &mut [IoSliceMut::new(&mut one)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                received => break received.map_err(|_| Lost::Closed)?,
            }
        };
        let ends = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(ends) => Some(ends),
            _ => None,
        });
        let end = ends.flatten().last();
        match received.bytes {
            0 => Err(Lost::Closed),
            _ => end.and_then(Self::new).ok_or(Lost::Garbage),
        }
    }

    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Whether it is still the connection that it was, and nothing has happened on it.
    pub fn is_quiet(&self) -> bool {
        let Some(socket) = self.socket.as_ref().filter(|socket| identity(socket) == Some(self.identity)) else {
            return false;
        };
        let mut one = [0; 1];
        matches!(recv(socket, &mut one, RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(Errno::AGAIN | Errno::INTR))
    }

    /// Sends a message that has its length before it.
    pub fn send(&self, message: &[u8], deadline: Instant) -> Result<(), Lost> {
        let socket = self.socket().ok_or(Lost::Closed)?;
        let mut rest = message;
        // Nearly always there is room for all of it.
        let mut flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        while !rest.is_empty() {
            match send(socket, rest, flags) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    flags = SendFlags::NOSIGNAL;
                    let left = left(deadline).ok_or(Lost::Late)?;
                    set_socket_timeout(socket, Timeout::Send, Some(left)).map_err(|_| Lost::Closed)?;
                }
                Err(_) => return Err(Lost::Closed),
            }
        }
        Ok(())
    }

    /// Answers a new connection. It fits into the empty buffer: nobody is waited for.
    pub fn greet(&self, greeting: &Greeting) -> bool {
        encode(greeting).is_some_and(|message| self.send(&message, Instant::now() + GREETING).is_ok())
    }

    /// Waits for so long, or a fiftieth longer, from now on: most calls need no other time than the one before.
    fn be_patient(&self, socket: BorrowedFd<'_>, time: Option<Duration>) -> Result<(), Lost> {
        let is_told = match (self.patience.get(), time) {
            (Some(told), Some(time)) => told <= time + time / 50 && told >= time - time / 50,
            (told, time) => told == time,
        };
        if !is_told {
            set_socket_timeout(socket, Timeout::Recv, time).map_err(|_| Lost::Closed)?;
            self.patience.set(time);
        }
        Ok(())
    }

    /// The next message, without its length. Without a deadline it may begin at any time.
    pub fn receive(&self, deadline: Option<Instant>) -> Result<Bytes, Lost> {
        let socket = self.socket().ok_or(Lost::Closed)?;
        let mut buffer = Bytes::new(vec![0; USUAL]);
        let (mut len, mut end, mut until) = (0, HEAD, deadline);
        loop {
            let left = until.map(|until| left(until).ok_or(Lost::Late)).transpose()?;
            self.be_patient(socket, left)?;
            let room = buffer.get_mut(len..).ok_or(Lost::Garbage)?;
            match recv(socket, room, RecvFlags::empty()) {
                Ok((0, _)) => return Err(Lost::Closed),
                Ok((count, _)) => len += count,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err(Lost::Late),
                Err(_) => return Err(Lost::Closed),
            }
            until = until.or_else(|| Some(Instant::now() + REST));
            if let Some(head) = buffer.first_chunk::<HEAD>().filter(|_| len >= HEAD) {
                end = HEAD.saturating_add(u32::from_le_bytes(*head) as usize);
            }
            // Nobody speaks before the other has answered.
            if end > LONGEST + HEAD || len > end || (len == HEAD && end == HEAD) {
                return Err(Lost::Garbage);
            }
            if len == end && end > HEAD {
                buffer.truncate(len);
                buffer.drain(..HEAD);
                return Ok(buffer);
            }
            if len == buffer.len() {
                // Never more than twice what has really come, whatever the length says.
                let mut larger = Bytes::new(vec![0; end.min(2 * len)]);
                if let Some(begun) = larger.get_mut(..len) {
                    begun.copy_from_slice(&buffer);
                }
                buffer = larger;
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take()
            && identity(&socket) != Some(self.identity)
        {
            // Somebody else's by now: not ours to close.
            let _ = socket.into_raw_fd();
        }
    }
}

fn identity(socket: &OwnedFd) -> Option<(u64, u64)> {
    fstat(socket).ok().map(|found| (found.st_dev, found.st_ino))
}

/// None if the time is up. Never zero, which would mean for ever.
fn left(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| *left > Duration::from_micros(10))
}
