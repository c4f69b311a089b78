//! The agent's door: who is let in, what nonsense does, and that there is one agent a socket.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use crate::bed::Bed;
use crate::support::Dice;

#[test]
fn a_user_who_is_not_allowed_is_refused_and_told_so() {
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        return; // Only root can be somebody else.
    }
    let bed = Bed::new(10);
    let (c, pair) = bed.client();
    let installation = &bed.installation;
    for path in [installation.path(""), bed.socket().parent().unwrap().to_owned()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let status = |user: u32| {
        let mut command = installation.command(env!("CARGO_BIN_EXE_alikms"));
        let said = command.arg("status").uid(user).gid(user).output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    assert!(status(65_534).contains("the agent refuses: user 65534 is not in [agent] allow"), "{}", status(65_534));
    assert!(status(0).contains("reachable: token device"), "{}", status(0));
    pair.sign(c, 1).unwrap();

    // Named, it is let in.
    let text = std::fs::read_to_string(installation.conf()).unwrap();
    std::fs::write(installation.conf(), text.replace("deadline = 10", "deadline = 10\nallow = [65534]")).unwrap();
    let mut bed = bed;
    bed.kill();
    bed.start();
    let mut command = bed.installation.command(env!("CARGO_BIN_EXE_alikms"));
    let said = command.arg("status").uid(65_534).gid(65_534).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("reachable: token device"), "{said}");
}

/// Whoever put a socket where the agent's should be is not spoken to.
#[test]
fn a_listener_of_somebody_else_is_not_taken_for_the_agent() {
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        return; // Only root can be somebody else.
    }
    let bed = Bed::without_agent(2);
    let socket = bed.socket();
    let script = "import socket,sys,time\ns=socket.socket(socket.AF_UNIX);s.bind(sys.argv[1]);import os\n\
                  os.setgid(65534);os.setuid(65534)\ns.listen();print('ready',flush=True);c,_=s.accept();time.sleep(60)";
    let mut other = std::process::Command::new("python3");
    let mut other = other.args(["-c", script]).arg(&socket).stdout(Stdio::piped()).spawn().unwrap();
    other.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let said = bed.installation.command(env!("CARGO_BIN_EXE_alikms")).arg("status").output().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("is neither root, nor this user, nor the owner of its directory"), "{said}");
}

#[test]
fn nonsense_closes_its_connection_and_no_other() {
    let bed = Bed::new(10);
    let (c, pair) = bed.client();
    let worker = bed.worker();
    let mut dice = Dice::thrown();
    let hello = b"\x07\0\0\0ALIKMS\x03";
    for round in 0..600u64 {
        let mut peer = UnixStream::connect(bed.socket()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        if round % 3 > 0 {
            peer.write_all(hello).unwrap();
            let mut welcome = [0; 5];
            peer.read_exact(&mut welcome).unwrap();
            assert_eq!(&welcome, b"\x01\0\0\0\0");
        }
        let len = dice.roll(200);
        let mut noise: Vec<u8> = (0..len).map(|_| dice.roll(256) as u8).collect();
        // Lengths that are right, absurd, or none.
        match round % 5 {
            0 | 1 => drop(noise.splice(..0, (len as u32).to_le_bytes())),
            2 => drop(noise.splice(..0, u32::MAX.to_le_bytes())),
            _ => {}
        }
        let _ = peer.write_all(&noise);
        if round % 7 > 0 {
            let _ = peer.shutdown(std::net::Shutdown::Write);
            let mut rest = Vec::new();
            // Closed, or answered with a refusal if the noise happened to be a call; never left hanging.
            let _ = peer.read_to_end(&mut rest);
        }
        if round % 50 == 0 {
            pair.sign(c, round).unwrap();
        }
    }
    pair.sign(c, 1).unwrap();
    assert_eq!(bed.worker(), worker, "the worker lived through it");
}

/// A version that is not ours is told so, in a form that every version understands.
#[test]
fn another_version_is_refused_with_a_sentence() {
    let bed = Bed::new(10);
    let mut peer = UnixStream::connect(bed.socket()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer.write_all(b"\x07\0\0\0ALIKMS\x63").unwrap();
    let mut said = Vec::new();
    peer.read_to_end(&mut said).unwrap();
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("it speaks version 3, this program version 99"), "{text}");
}

#[test]
fn one_agent_a_socket_and_a_socket_left_behind_is_none() {
    let mut bed = Bed::new(10);
    let (c, pair) = bed.client();
    let second = bed.command().output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains("another agent (process ") && said.contains("is at work at"), "{said}");
    pair.sign(c, 1).unwrap();
    bed.kill();
    assert!(bed.socket().exists(), "kill -9 leaves it");
    bed.start();
    pair.sign(c, 2).unwrap();
    // Many at once: one wins.
    bed.kill();
    let mut all: Vec<_> = (0..8).map(|_| bed.command().spawn().unwrap()).collect();
    std::thread::sleep(Duration::from_millis(500));
    let left = all.iter_mut().filter_map(|agent| agent.try_wait().unwrap().is_none().then(|| agent.id())).count();
    pair.sign(c, 3).unwrap();
    for mut agent in all {
        let _ = agent.kill();
        agent.wait().unwrap();
    }
    assert_eq!(left, 1);
}

/// As systemd does it with `StandardInput=socket`. There is no monitor then, but still one agent a socket.
#[test]
fn a_socket_at_the_standard_input_is_served() {
    let bed = Bed::without_agent(10);
    let listener = UnixListener::bind(bed.socket()).unwrap();
    let start = || bed.command().stdin(OwnedFd::from(listener.try_clone().unwrap())).spawn().unwrap();
    let mut agent = start();
    let (c, pair) = bed.client();
    pair.sign(c, 1).unwrap();
    let second = start().wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another agent"), "{second:?}");
    // Whoever holds the socket starts it again; meanwhile connections queue.
    agent.kill().unwrap();
    agent.wait().unwrap();
    let signer = std::thread::spawn(move || pair.sign(c, 2));
    std::thread::sleep(Duration::from_millis(300));
    let mut agent = start();
    assert_eq!(signer.join().unwrap(), Ok(()));
    agent.kill().unwrap();
    agent.wait().unwrap();
}

/// Its worker dies a moment after it: starting at once found the old one listening.
#[test]
fn an_agent_that_was_killed_is_replaced_at_once() {
    let mut bed = Bed::new(10);
    let (c, pair) = bed.client();
    for number in 0..20 {
        bed.kill();
        bed.start();
        pair.sign(c, number).unwrap();
    }
}

#[test]
fn an_agent_without_a_device_says_so() {
    let installation = crate::support::Installation::with_device();
    let mut command = installation.command(env!("CARGO_BIN_EXE_alikms"));
    let said = command.arg("agent").output().unwrap();
    assert_eq!(said.status.code(), Some(3));
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("has no device for the agent") && said.contains("device_mode = \"agent\""), "{said}");
}
