//! How a caller comes to the agent: connects, looks who listens, and says what it wants.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::message::{Greeting, Hello, Wants, decode, encode};
use super::peer::{Peer, may_be_agent};
use super::{Line, Lost};

/// How long an agent that does not listen is waited for, once: it may just be starting again.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// Why an attempt to connect failed.
enum Refusal {
    /// Another attempt may succeed.
    Now(String),
    Ever(String),
}

/// A new connection, on which the agent has said welcome; else the reason. `is_absent`: nothing listened when it was last
/// waited for, so that it is not waited for again.
pub fn reach(
    path: &Path,
    wants: Wants,
    version: u16,
    deadline: Instant,
    is_absent: &AtomicBool,
) -> Result<Line, String> {
    let begun = Instant::now();
    loop {
        let reason = match attempt(path, &Hello::new(wants, version), deadline) {
            Ok(line) => {
                is_absent.store(false, Ordering::Relaxed);
                return Ok(line);
            }
            Err(Refusal::Ever(reason)) => return Err(reason),
            Err(Refusal::Now(reason)) => reason,
        };
        let now = Instant::now();
        if is_absent.load(Ordering::Relaxed) || now >= deadline || now >= begun + PATIENCE {
            is_absent.store(true, Ordering::Relaxed);
            return Err(reason);
        }
        std::thread::sleep(PAUSE);
    }
}

fn attempt(path: &Path, hello: &Hello, deadline: Instant) -> Result<Line, Refusal> {
    let line = Line::connect(path, deadline).map_err(|error| {
        let reason = format!("no agent listens at {} ({error}): start `alikms agent`", path.display());
        if error == Errno::ACCESS { Refusal::Ever(reason) } else { Refusal::Now(reason) }
    })?;
    if !line.socket().and_then(Peer::of).is_some_and(|peer| may_be_agent(peer.user, path)) {
        return Err(Refusal::Ever(format!(
            "who listens at {} is neither root, nor this user, nor the owner of its directory",
            path.display()
        )));
    }
    // Who is not welcome hears so without having been asked, and then the line is closed.
    let _ = line.send(&encode(hello).unwrap_or_default(), deadline);
    match line.receive(Some(deadline)) {
        Ok(body) => match decode(&body) {
            Some(Greeting::Welcome) => Ok(line),
            Some(Greeting::Busy) => Err(Refusal::Now("the agent has too many connections".to_owned())),
            Some(Greeting::Refused(reason)) => Err(Refusal::Ever(format!("the agent refuses: {reason}"))),
            None => Err(Refusal::Ever(format!("no agent of ours listens at {}", path.display()))),
        },
        Err(Lost::Garbage) => Err(Refusal::Ever(format!("no agent of ours listens at {}", path.display()))),
        Err(Lost::Closed | Lost::Late) => Err(Refusal::Now("the agent does not answer".to_owned())),
    }
}
