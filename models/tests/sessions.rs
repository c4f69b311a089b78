//! The table of sessions.

use std::sync::Arc;

use alikms_models::error::Error;
use alikms_models::sessions::Sessions;
use alikms_models::token::session::Closed;
use alikms_models::token::slot::Slot;
use alikms_models::{every_order, fork};
use cryptoki_sys::CKR_SESSION_HANDLE_INVALID;
use loom::thread;

const GONE: Error = Error::Cryptoki(CKR_SESSION_HANDLE_INVALID);

fn open(sessions: &Sessions) -> u64 {
    sessions.open(&Slot, 0, true).unwrap()
}

/// With its first row, which `OnceLock` makes: loom does not know that lock.
fn table() -> Arc<Sessions> {
    fork::set_epoch(1);
    let sessions = Sessions::default();
    let first = open(&sessions);
    sessions.close(first).unwrap();
    Arc::new(sessions)
}

/// Uses a session: it is the one of this handle, or gone.
fn used(sessions: &Sessions, handle: u64) -> bool {
    let outcome = sessions.with(handle, |session| {
        assert_eq!(session.handle(), handle);
        session.uses += 1;
        Ok(())
    });
    assert!(outcome == Ok(()) || outcome == Err(GONE));
    outcome.is_ok()
}

#[test]
fn two_who_open_get_two() {
    every_order(3, || {
        let sessions = table();
        let other = {
            let sessions = sessions.clone();
            thread::spawn(move || open(&sessions))
        };
        let mine = open(&sessions);
        let theirs = other.join().unwrap();
        assert_ne!(mine, theirs);
        assert!(used(&sessions, mine) && used(&sessions, theirs));
        assert_eq!(sessions.handles(|_| true).len(), 2);
    });
}

/// One uses a session, one closes it, and a third one may get its seat: the old handle never leads to the new session.
#[test]
fn a_handle_that_was_closed_is_nobodys() {
    every_order(2, || {
        let sessions = table();
        let old = open(&sessions);
        let user = {
            let sessions = sessions.clone();
            thread::spawn(move || used(&sessions, old))
        };
        let closer = {
            let sessions = sessions.clone();
            thread::spawn(move || {
                assert_eq!(sessions.close(old), Ok(Closed(old)));
                open(&sessions)
            })
        };
        user.join().unwrap();
        let new = closer.join().unwrap();
        assert_ne!(old, new);
        assert!(!used(&sessions, old) && used(&sessions, new));
        assert_eq!(sessions.close(old).map(|_| ()), Err(GONE));
        assert_eq!(sessions.handles(|_| true), [new]);
    });
}

/// Two close the same session: one does, and the seat is given out once.
#[test]
fn one_of_two_closes() {
    every_order(3, || {
        let sessions = table();
        let handle = open(&sessions);
        let other = {
            let sessions = sessions.clone();
            thread::spawn(move || sessions.close(handle).is_ok())
        };
        let mine = sessions.close(handle).is_ok();
        assert!(mine ^ other.join().unwrap());
        let (one, two) = (open(&sessions), open(&sessions));
        assert!(used(&sessions, one) && used(&sessions, two) && !used(&sessions, handle));
    });
}

/// C_CloseAllSessions and C_Logout go through the table while another thread opens and closes.
#[test]
fn all_are_closed_while_one_opens() {
    every_order(2, || {
        let sessions = table();
        let first = open(&sessions);
        let other = {
            let sessions = sessions.clone();
            thread::spawn(move || {
                let own = open(&sessions);
                used(&sessions, own);
                own
            })
        };
        for handle in sessions.handles(|_| true) {
            let _ = sessions.close(handle);
        }
        let own = other.join().unwrap();
        assert!(!used(&sessions, first));
        // It was seen or it was not; in both cases the table is whole.
        let left = sessions.handles(|_| true);
        assert!(left.is_empty() || left == [own]);
        for handle in left {
            assert!(sessions.close(handle).is_ok());
        }
        assert!(sessions.handles(|_| true).is_empty());
    });
}

/// In a forked child, a seat that a thread of the parent held is never waited for; all others go on.
#[test]
fn a_seat_held_at_the_fork_is_given_up() {
    every_order(2, || {
        let sessions = table();
        let (held, free) = (open(&sessions), open(&sessions));
        let outcome = sessions.with(held, |_| {
            // The fork: this thread's copy is not there in the child, and the lock stays as it is.
            fork::set_epoch(2);
            assert!(!used(&sessions, held));
            assert!(used(&sessions, free));
            assert_eq!(sessions.close(held).map(|_| ()), Err(GONE));
            let new = open(&sessions);
            assert!(used(&sessions, new));
            Ok(())
        });
        assert_eq!(outcome, Ok(()));
    });
}
