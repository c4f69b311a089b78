//! The asking side against an agent that answers what a test wants.

use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{scope, sleep, spawn};
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tempfile::TempDir;

use crate::config::ClientConfig;
use crate::error::Result;
use crate::link::{Greeting, Line};
use crate::model::Bytes;
use crate::remote::calls::{Ask, Session};
use crate::remote::client::Client;
use crate::remote::host::{LINES, Question, reply};
use crate::remote::hosted::{Broken, Hosted, agree};
use crate::remote::info::SessionInfo;
use crate::remote::login::Login;
use crate::remote::tokens::Tokens;
use crate::token::slot::OTHER_NAME;
use crate::token::{Answer, Mechanism, Parameter, Room, ck};

const DEADLINE: Duration = Duration::from_millis(300);
const SLOT: u64 = 7;

/// What it answers to a question, told the host's number, from 1 on; None: the line is closed.
type Answers = dyn Fn(u64, &Ask<'_>) -> Option<Bytes> + Send + Sync;

/// By which name, and the PIN.
type Said = Vec<(Option<String>, String)>;

struct Fake {
    client: &'static Client,
    hosts: Arc<AtomicU64>,
    logins: Arc<Mutex<Said>>,
    _folder: TempDir,
}

/// What is answered where a test says nothing else.
fn usual(ask: &Ask<'_>) -> Option<Bytes> {
    match ask {
        Ask::Open { .. } => reply(Ok(1u64)),
        Ask::Login { .. } => reply(Ok(None::<String>)),
        Ask::Info => {
            reply(Ok(SessionInfo::from(CK_SESSION_INFO { slotID: SLOT, state: 0, flags: 0, ulDeviceError: 0 })))
        }
        _ => reply(Ok(())),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Fake {
    fn new(answers: impl Fn(u64, &Ask<'_>) -> Option<Bytes> + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let (hosts, logins) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, said, answers) = (Arc::clone(&hosts), Arc::clone(&logins), Arc::new(answers));
        spawn(move || {
            for connection in listener.incoming() {
                let control = Line::new(connection.unwrap().into()).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let (answers, said) = (Arc::clone(&answers), Arc::clone(&said));
                spawn(move || host(&control, number, &(answers as Arc<Answers>), &said));
            }
        });
        let client = Client::new(ClientConfig { path: socket.clone(), socket, deadline: DEADLINE });
        Self { client: Box::leak(Box::new(client)), hosts, logins, _folder: folder }
    }

    fn hosts(&self) -> u64 {
        self.hosts.load(Ordering::SeqCst)
    }

    fn open(&self) -> u64 {
        self.client.open_session(SLOT, CKF_SERIAL_SESSION).unwrap()
    }

    fn session<T>(&self, handle: u64, work: impl FnOnce(&mut Session<'_>) -> Result<T>) -> Result<T> {
        Tokens::There(self.client).session(handle, work)
    }

    fn logins(&self) -> Said {
        self.logins.lock().unwrap().clone()
    }
}

fn host(control: &Line, number: u64, answers: &Arc<Answers>, said: &Arc<Mutex<Said>>) {
    control.receive(None).unwrap();
    assert!(control.greet(&Greeting::Welcome));
    while let Ok(line) = control.receive_end() {
        let (answers, said) = (Arc::clone(answers), Arc::clone(said));
        spawn(move || {
            while let Ok(message) = line.receive(None) {
                let (_, ask): Question<'_> = crate::link::decode(&message).unwrap();
                if let Ask::Login { pin, name, .. } = &ask {
                    said.lock().unwrap().push((name.map(|name| text(name)), text(pin.unwrap())));
                }
                let Some(answer) = answers(number, &ask) else { return };
                if line.send(&answer, Instant::now() + Duration::from_secs(60)).is_err() {
                    return;
                }
            }
        });
    }
}

fn sha256() -> Mechanism {
    Mechanism { kind: CKM_SHA256, parameter: Parameter::None }
}

/// The login alone takes longer than a call may: neither the call that needs it nor those that wait for it are lost, nor is the
/// host.
#[test]
fn a_login_that_is_slow_is_not_the_calls_time() {
    let fake = Fake::new(|number, ask| {
        match ask {
            Ask::Login { .. } if number > 1 => sleep(DEADLINE * 4),
            Ask::Info if number == 1 => return None,
            _ => {}
        }
        usual(ask)
    });
    let sessions: Vec<_> = (0..6).map(|_| fake.open()).collect();
    fake.client.login(sessions[0], CKU_USER, Some(b"pin!"), None).unwrap();
    scope(|scope| {
        let calls: Vec<_> = sessions.iter().map(|session| scope.spawn(|| fake.client.session_info(*session))).collect();
        for call in calls {
            assert!(call.join().unwrap().is_ok());
        }
    });
    assert_eq!((fake.hosts(), fake.logins().len()), (2, 2));
}

/// The user is gone, and would be taken for the account with a colon in its PIN.
#[test]
fn a_login_is_said_again_for_whom_it_was() {
    let told = |name: Option<&str>, pin: &str, is: Option<&str>| {
        let login = Login::new(CKU_USER, pin.as_bytes(), name.map(str::as_bytes), is.map(str::to_owned)).unwrap();
        let Ask::Login { user: CKU_USER, pin, name } = login.ask() else { panic!("it is no login") };
        (name.map(|name| text(name)), text(pin.unwrap()))
    };
    let bob = (Some("bob".to_owned()), "secret".to_owned());
    assert_eq!(told(None, "bob:secret", Some("bob")), bob);
    assert_eq!(told(Some(""), "bob:secret", Some("bob")), bob);
    assert_eq!(told(Some("bob"), "secret", Some("bob")), bob);
    assert_eq!(told(Some("bob"), "bob:secret", Some("bob")).1, "bob:secret");
    assert_eq!(told(None, "not:a name", None), (None, "not:a name".to_owned()));
    let fake = Fake::new(|number, ask| match ask {
        Ask::Login { .. } if number > 1 => reply::<()>(Err(ck(CKR_PIN_INCORRECT))),
        Ask::Login { .. } => reply(Ok(Some("bob"))),
        Ask::Info if number == 1 => None,
        ask => usual(ask),
    });
    let session = fake.open();
    fake.client.login(session, CKU_USER, Some(b"bob:secret"), None).unwrap();
    assert!(fake.client.session_info(session).is_ok());
    assert_eq!(fake.logins(), [(None, "bob:secret".to_owned()), bob]);
}

#[test]
fn what_a_new_host_refuses_for_good_is_forgotten_and_the_rest_goes_on() {
    const GONE: u64 = 8;
    let fake = Fake::new(|number, ask| match ask {
        Ask::Open { slot: GONE, .. } | Ask::SlotInfo { slot: GONE } if number > 1 => {
            reply::<()>(Err(ck(CKR_SLOT_ID_INVALID)))
        }
        Ask::Login { .. } if number > 1 => reply::<()>(Err(ck(CKR_ARGUMENTS_BAD))),
        Ask::Info if number == 1 => None,
        ask => usual(ask),
    });
    let (session, gone) = (fake.open(), fake.client.open_session(GONE, CKF_SERIAL_SESSION).unwrap());
    for session in [session, gone] {
        fake.client.login(session, CKU_USER, Some(b"pin!"), None).unwrap();
    }
    for _ in 0..3 {
        assert!(fake.client.session_info(session).is_ok());
        assert_eq!(fake.client.session_info(gone).unwrap_err(), ck(CKR_SESSION_HANDLE_INVALID));
    }
    assert_eq!((fake.hosts(), fake.logins().len()), (2, 3));
    assert_eq!(fake.client.close_all_sessions(GONE), Err(ck(CKR_SLOT_ID_INVALID)));
}

/// What may pass is no reason to forget anything.
#[test]
fn what_a_new_host_cannot_do_now_is_asked_for_again() {
    let failures = AtomicU64::new(0);
    let fake = Fake::new(move |number, ask| match ask {
        Ask::Login { .. } if number > 1 && failures.fetch_add(1, Ordering::SeqCst) < 2 => {
            reply::<()>(Err(ck(CKR_DEVICE_ERROR)))
        }
        Ask::Info if number == 1 => None,
        ask => usual(ask),
    });
    let session = fake.open();
    fake.client.login(session, CKU_USER, Some(b"pin!"), None).unwrap();
    for _ in 0..2 {
        assert_eq!(fake.client.session_info(session).unwrap_err(), ck(CKR_DEVICE_ERROR));
    }
    assert!(fake.client.session_info(session).is_ok());
    assert_eq!((fake.hosts(), fake.logins().len()), (2, 4));
}

#[test]
fn a_logout_that_reaches_no_host_is_one_nevertheless() {
    let fake = Fake::new(|_, ask| match ask {
        Ask::Logout => None,
        ask => usual(ask),
    });
    let session = fake.open();
    fake.client.login(session, CKU_USER, Some(b"pin!"), None).unwrap();
    assert_eq!(fake.client.logout(session), Ok(()));
    assert!(fake.client.session_info(session).is_ok());
    assert!(fake.client.logout(session).is_err(), "nobody is logged in");
    assert_eq!(fake.logins().len(), 1);
}

/// One operation cannot go on; the other one does.
#[test]
fn an_operation_that_is_not_begun_again_ends_alone() {
    let fake = Fake::new(|number, ask| match ask {
        Ask::SignInit { .. } if number > 1 => reply::<()>(Err(ck(CKR_KEY_HANDLE_INVALID))),
        Ask::Info if number == 1 => None,
        Ask::Digest { .. } => reply(Ok(Answer::Size(number as usize))),
        Ask::Sign { .. } => reply::<()>(Err(ck(CKR_OPERATION_NOT_INITIALIZED))),
        ask => usual(ask),
    });
    let (session, other) = (fake.open(), fake.open());
    for session in [session, other] {
        fake.session(session, |s| s.sign_init(Some(sha256()), 1)).unwrap();
        fake.session(session, |s| s.digest_init(Some(&sha256()))).unwrap();
    }
    assert!(fake.client.session_info(session).is_ok());
    assert_eq!(fake.session(session, |s| s.digest(b"", Room::Ask)), Ok(Answer::Size(2)));
    assert_eq!(fake.session(session, |s| s.sign(b"", Room::Ask)), Err(ck(CKR_OPERATION_NOT_INITIALIZED)));
    // Whoever asks for its end is told what became of it.
    assert_eq!(fake.session(other, |s| s.sign(b"", Room::Ask)), Err(ck(CKR_KEY_HANDLE_INVALID)));
    assert_eq!(fake.session(other, |s| s.digest(b"", Room::Ask)), Ok(Answer::Size(2)));
}

#[test]
fn a_host_that_was_lost_is_not_asked_to_end_anything() {
    let fake = Fake::new(|_, ask| match ask {
        Ask::SignUpdate { .. } => {
            sleep(DEADLINE * 2);
            None
        }
        ask => usual(ask),
    });
    let session = fake.open();
    let outcome = fake.session(session, |s| {
        let outcome = s.sign_update(b"");
        s.abort(CKF_SIGN);
        outcome
    });
    assert_eq!(outcome.unwrap_err().rv(), CKR_DEVICE_ERROR);
    assert_eq!(fake.hosts(), 1);
}

/// The place of a name in the list of one host is that of another one in the next.
#[test]
fn names_are_those_of_the_host_that_found_by_them() {
    let fake = Fake::new(|number, ask| match ask {
        Ask::Find { .. } => reply(Ok(vec![OTHER_NAME])),
        Ask::Names { .. } if number == 1 => None,
        Ask::Names { .. } => reply(Ok(vec![(5, b"shop".to_vec())])),
        ask => usual(ask),
    });
    let session = fake.open();
    assert_eq!(fake.session(session, |s| s.find(1)), Err(ck(CKR_DEVICE_ERROR)));
    assert_eq!(fake.session(session, |s| s.find(1)), Ok(vec![OTHER_NAME]));
    let name = |label: &str| (5, label.as_bytes().to_vec());
    let mut kept = Vec::new();
    for names in [vec![name("a")], vec![name("a"), name("b")], vec![name("a")]] {
        assert!(agree(&mut kept, names));
    }
    assert!(!agree(&mut kept, vec![name("b"), name("a"), name("c")]));
    assert_eq!(kept, [name("a"), name("b")]);
}

/// More threads than lines, and lines faster than the host takes them.
#[test]
fn no_host_is_lost_for_the_number_of_its_callers() {
    let (ours, theirs) = Line::pair().unwrap();
    set_socket_send_buffer_size(ours.socket().unwrap(), 1).unwrap();
    let (hosted, control) = (Hosted::new(ours), Line::new(theirs).unwrap());
    let lines = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lines);
    spawn(move || {
        sleep(Duration::from_millis(200));
        while let Ok(line) = control.receive_end() {
            count.fetch_add(1, Ordering::SeqCst);
            spawn(move || {
                while line.receive(None).is_ok() {
                    sleep(Duration::from_millis(5));
                    let _ = line.send(&reply(Ok(5u64)).unwrap(), Instant::now() + Duration::from_secs(60));
                }
            });
        }
    });
    let call = |time| hosted.ask::<u64>(0, &Ask::Slots, Instant::now() + time);
    let minute = Duration::from_secs(60);
    scope(|scope| {
        let callers: Vec<_> =
            (0..3 * LINES).map(|_| scope.spawn(|| (0..3).all(|_| matches!(call(minute), Ok(5))))).collect();
        assert!(callers.into_iter().all(|caller| caller.join().unwrap()));
    });
    assert_eq!(lines.load(Ordering::SeqCst), LINES);
    // Whose time is up while all lines are in use has lost nothing but his call.
    scope(|scope| {
        let callers: Vec<_> = (0..3 * LINES).map(|_| scope.spawn(|| (0..14).all(|_| call(minute).is_ok()))).collect();
        let crowded = (0..100).any(|_| {
            sleep(Duration::from_millis(1));
            matches!(call(Duration::ZERO), Err(Broken::Failed(error)) if error == ck(CKR_DEVICE_ERROR))
        });
        assert!(crowded);
        assert!(callers.into_iter().all(|caller| caller.join().unwrap()));
    });
    assert!(!hosted.is_lost());
}
