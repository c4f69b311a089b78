//! The calls of operations: C_DigestInit to C_VerifyFinal and C_SessionCancel, made to the module and to the model.

use cryptoki_sys::*;

use super::work::{Digest, Does, Offer, Reply, Stage, Work};
use super::{Model, Object, Session};
use crate::call;
use crate::support::Mech;

const ROOMS: &[usize] = &[0, 1, 15, 16, 17, 31, 32, 33, 48, 64, 100, 100, 100, 100];
const PARTS: &[usize] = &[0, 1, 5, 15, 16, 17, 32, 33, 48];
/// More than any output here.
const MOST: usize = 256;

/// Makes the call with what is offered; answers the code, the length where one is told, and what was put out.
pub fn offered(
    offer: Offer,
    mut call: impl FnMut(CK_BYTE_PTR, CK_ULONG_PTR) -> CK_RV,
) -> ((CK_RV, Option<usize>), Vec<u8>) {
    let mut buffer = vec![0xa5u8; MOST];
    let (mut len, place) = match offer {
        Offer::NoLength => return ((call(buffer.as_mut_ptr(), std::ptr::null_mut()), None), Vec::new()),
        Offer::Ask => (0xdead, std::ptr::null_mut()),
        Offer::Bytes(room) => (room as CK_ULONG, buffer.as_mut_ptr()),
    };
    let rv = call(place, &raw mut len);
    let told = matches!(rv, CKR_OK | CKR_BUFFER_TOO_SMALL).then_some(len as usize);
    let used = if rv == CKR_OK && offer != Offer::Ask { len as usize } else { 0 };
    assert!(
        buffer[used..].iter().all(|byte| *byte == 0xa5),
        "more was written than is told: {offer:?}, {rv:#x}, {len}"
    );
    buffer.truncate(used);
    ((rv, told), buffer)
}

/// Which step of an operation is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Init,
    Whole,
    Update,
    Last,
}

impl Model {
    pub(super) fn some_offer(&mut self, rooms: &[usize]) -> Offer {
        match self.dice.roll(40) {
            0 => Offer::NoLength,
            1..=8 => Offer::Ask,
            _ => Offer::Bytes(self.dice.of(rooms)),
        }
    }

    fn some_step(&mut self) -> Step {
        self.dice.of(&[Step::Init, Step::Whole, Step::Update, Step::Update, Step::Last])
    }

    /// A part and the pointer to it: now and then a null pointer with a length.
    fn some_part(&mut self, buffer: &mut [u8]) -> (CK_BYTE_PTR, usize, bool) {
        let len = self.dice.of(PARTS);
        let bad = len > 0 && self.dice.rarely(60);
        (if bad { std::ptr::null_mut() } else { buffer.as_mut_ptr() }, len, bad)
    }

    /// C_…Init: what is wrong with the key; `NULL` as the mechanism ends what goes on.
    fn check_init(
        &self,
        session: &Session,
        active: bool,
        key: CK_OBJECT_HANDLE,
        key_type: CK_KEY_TYPE,
        use_: CK_ATTRIBUTE_TYPE,
    ) -> CK_RV {
        let _ = session;
        let stored = |object: &Object| object.session.is_none();
        match self.item(key) {
            _ if active => CKR_OPERATION_ACTIVE,
            None if self.objects.get(&key).is_some_and(stored) => CKR_USER_NOT_LOGGED_IN,
            None => CKR_KEY_HANDLE_INVALID,
            Some(object) if !object.is_key() => CKR_KEY_HANDLE_INVALID,
            Some(object) if object.key_type != key_type => CKR_KEY_TYPE_INCONSISTENT,
            Some(object) if !object.uses.contains(&use_) => CKR_KEY_FUNCTION_NOT_PERMITTED,
            Some(_) => CKR_OK,
        }
    }

    pub(super) fn digest_call(&mut self) {
        let handle = self.some_session();
        let (step, offer) = (self.some_step(), self.some_offer(ROOMS));
        let mut buffer = [3u8; 64];
        let (part, len, bad) = self.some_part(&mut buffer);
        let (kind, size) = self.dice.of(&[(CKM_SHA256, 32), (CKM_SHA_1, 20), (CKM_SHA3_512, 64)]);
        let cancels = self.dice.rarely(40);
        let m = self.m;
        let mut mechanism = Mech::new(kind).raw();
        let (found, _) = match step {
            Step::Init => {
                let place = if cancels { std::ptr::null_mut() } else { &raw mut mechanism };
                ((call!(m, C_DigestInit(handle, place)), None), Vec::new())
            }
            Step::Update => ((call!(m, C_DigestUpdate(handle, part, len as CK_ULONG)), None), Vec::new()),
            Step::Whole => offered(offer, |out, size| call!(m, C_Digest(handle, part, len as CK_ULONG, out, size))),
            Step::Last => offered(offer, |out, size| call!(m, C_DigestFinal(handle, out, size))),
        };
        let expected = match self.sessions.get_mut(&handle) {
            None => (CKR_SESSION_HANDLE_INVALID, None),
            Some(session) => {
                let digest = session.digest.take();
                let uses_data = matches!(step, Step::Update | Step::Whole);
                let offers = matches!(step, Step::Whole | Step::Last);
                let (rv, told, rest): Reply<Digest> = match (step, digest) {
                    (Step::Init, _) if cancels => (CKR_OK, None, None),
                    (Step::Init, Some(digest)) => (CKR_OPERATION_ACTIVE, None, Some(digest)),
                    (Step::Init, None) => (CKR_OK, None, Some(Digest { size, stage: Stage::Fresh })),
                    _ if offers && offer == Offer::NoLength => (CKR_ARGUMENTS_BAD, None, None),
                    _ if uses_data && bad => (CKR_ARGUMENTS_BAD, None, None),
                    (_, None) => (CKR_OPERATION_NOT_INITIALIZED, None, None),
                    (Step::Whole, Some(digest)) => digest.single(offer),
                    (Step::Update, Some(digest)) => digest.update(),
                    (Step::Last, Some(digest)) => digest.last(offer),
                };
                session.digest = rest;
                (rv, told)
            }
        };
        self.same(format!("digest {step:?}({handle:#x}, {len} bytes, {offer:?}, cancels: {cancels})"), expected, found);
    }

    pub(super) fn cipher_call(&mut self, encrypts: bool) {
        let handle = self.some_session();
        let (step, offer) = (self.some_step(), self.some_offer(ROOMS));
        let mut buffer = [3u8; 64];
        let (part, len, bad) = self.some_part(&mut buffer);
        // What comes out of a padding that is none cannot be told beforehand.
        let does = if encrypts {
            self.dice.of(&[Does::Ecb, Does::CbcPad, Does::Ctr, Does::Gcm])
        } else {
            self.dice.of(&[Does::Ecb, Does::Ctr, Does::Gcm])
        };
        let mechanism = match does {
            Does::Ecb => Mech::new(CKM_AES_ECB),
            Does::CbcPad => Mech::with(CKM_AES_CBC_PAD, [1; 16]),
            Does::Ctr => Mech::ctr([1; 16], 128),
            _ => Mech::gcm(&[1; 12], b"aad", 128),
        };
        let use_ = if encrypts { CKA_ENCRYPT } else { CKA_DECRYPT };
        let key = self.some_object(|object| object.key_type == CKK_AES && object.uses.contains(&use_));
        let cancels = self.dice.rarely(40);
        let (m, length) = (self.m, len as CK_ULONG);
        let mut raw = mechanism.raw();
        let place = if cancels { std::ptr::null_mut() } else { &raw mut raw };
        let (found, _) = match (step, encrypts) {
            (Step::Init, true) => ((call!(m, C_EncryptInit(handle, place, key)), None), Vec::new()),
            (Step::Init, false) => ((call!(m, C_DecryptInit(handle, place, key)), None), Vec::new()),
            (Step::Whole, true) => offered(offer, |out, size| call!(m, C_Encrypt(handle, part, length, out, size))),
            (Step::Whole, false) => offered(offer, |out, size| call!(m, C_Decrypt(handle, part, length, out, size))),
            (Step::Update, true) => {
                offered(offer, |out, size| call!(m, C_EncryptUpdate(handle, part, length, out, size)))
            }
            (Step::Update, false) => {
                offered(offer, |out, size| call!(m, C_DecryptUpdate(handle, part, length, out, size)))
            }
            (Step::Last, true) => offered(offer, |out, size| call!(m, C_EncryptFinal(handle, out, size))),
            (Step::Last, false) => offered(offer, |out, size| call!(m, C_DecryptFinal(handle, out, size))),
        };
        let init = self.sessions.get(&handle).map(|session| {
            let active = if encrypts { session.encrypt.is_some() } else { session.decrypt.is_some() };
            self.check_init(session, active, key, CKK_AES, use_)
        });
        let expected = match (self.sessions.get_mut(&handle), init) {
            (Some(session), Some(init)) => {
                let place = if encrypts { &mut session.encrypt } else { &mut session.decrypt };
                let uses_data = matches!(step, Step::Update | Step::Whole);
                let work = place.take();
                let (rv, told, rest): Reply<Work> = match (step, work) {
                    (Step::Init, _) if cancels => (CKR_OK, None, None),
                    (Step::Init, work) if init != CKR_OK => (init, None, work),
                    (Step::Init, _) => (CKR_OK, None, Some(Work { does, encrypts, stage: Stage::Fresh })),
                    _ if offer == Offer::NoLength => (CKR_ARGUMENTS_BAD, None, None),
                    _ if uses_data && bad => (CKR_ARGUMENTS_BAD, None, None),
                    (_, None) => (CKR_OPERATION_NOT_INITIALIZED, None, None),
                    (Step::Whole, Some(work)) => work.single(len, offer),
                    (Step::Update, Some(work)) => work.update(len, offer),
                    (Step::Last, Some(work)) => work.last(offer),
                };
                *place = rest;
                (rv, told)
            }
            _ => (CKR_SESSION_HANDLE_INVALID, None),
        };
        let what = if encrypts { "encrypt" } else { "decrypt" };
        self.same(
            format!("{what} {step:?}({handle:#x}, {does:?}, key {key:#x}, {len} bytes, {offer:?})"),
            expected,
            found,
        );
    }

    /// A MAC and the key type that it takes.
    fn some_mac(&mut self) -> (Does, CK_MECHANISM_TYPE, CK_KEY_TYPE) {
        self.dice.of(&[(Does::Hmac, CKM_SHA256_HMAC, CKK_GENERIC_SECRET), (Does::Cmac, CKM_AES_CMAC, CKK_AES)])
    }

    pub(super) fn sign_call(&mut self) {
        let handle = self.some_session();
        let (step, offer) = (self.some_step(), self.some_offer(ROOMS));
        let mut buffer = [3u8; 64];
        let (part, len, bad) = self.some_part(&mut buffer);
        let (does, kind, key_type) = self.some_mac();
        let key = self.some_object(|object| object.key_type == key_type && object.uses.contains(&CKA_SIGN));
        let (m, length) = (self.m, len as CK_ULONG);
        let mut raw = Mech::new(kind).raw();
        let (found, _) = match step {
            Step::Init => ((call!(m, C_SignInit(handle, &raw mut raw, key)), None), Vec::new()),
            Step::Update => ((call!(m, C_SignUpdate(handle, part, length)), None), Vec::new()),
            Step::Whole => offered(offer, |out, size| call!(m, C_Sign(handle, part, length, out, size))),
            Step::Last => offered(offer, |out, size| call!(m, C_SignFinal(handle, out, size))),
        };
        let init = self
            .sessions
            .get(&handle)
            .map(|session| self.check_init(session, session.sign.is_some(), key, key_type, CKA_SIGN));
        let expected = match (self.sessions.get_mut(&handle), init) {
            (Some(session), Some(init)) => {
                let uses_data = matches!(step, Step::Update | Step::Whole);
                let offers = matches!(step, Step::Whole | Step::Last);
                let work = session.sign.take();
                let (rv, told, rest): Reply<Work> = match (step, work) {
                    (Step::Init, work) if init != CKR_OK => (init, None, work),
                    (Step::Init, _) => (CKR_OK, None, Some(Work { does, encrypts: true, stage: Stage::Fresh })),
                    _ if offers && offer == Offer::NoLength => (CKR_ARGUMENTS_BAD, None, None),
                    _ if uses_data && bad => (CKR_ARGUMENTS_BAD, None, None),
                    (_, None) => (CKR_OPERATION_NOT_INITIALIZED, None, None),
                    (Step::Whole, Some(work)) => work.single(len, offer),
                    (Step::Update, Some(work)) => work.absorb(len),
                    (Step::Last, Some(work)) => work.last(offer),
                };
                session.sign = rest;
                (rv, told)
            }
            _ => (CKR_SESSION_HANDLE_INVALID, None),
        };
        self.same(
            format!("sign {step:?}({handle:#x}, {does:?}, key {key:#x}, {len} bytes, {offer:?})"),
            expected,
            found,
        );
    }

    pub(super) fn verify_call(&mut self) {
        let handle = self.some_session();
        let step = self.some_step();
        let mut buffer = [3u8; 64];
        let (part, len, bad) = self.some_part(&mut buffer);
        let (does, kind, key_type) = self.some_mac();
        let key = self.some_object(|object| object.key_type == key_type && object.uses.contains(&CKA_VERIFY));
        let size = self.dice.of(&[0, 16, 31, 32]);
        let mut signature = [0x11u8; 32];
        let (m, length) = (self.m, len as CK_ULONG);
        let mut raw = Mech::new(kind).raw();
        let (place, sized) = (signature.as_mut_ptr(), size as CK_ULONG);
        let found = match step {
            Step::Init => call!(m, C_VerifyInit(handle, &raw mut raw, key)),
            Step::Update => call!(m, C_VerifyUpdate(handle, part, length)),
            Step::Whole => call!(m, C_Verify(handle, part, length, place, sized)),
            Step::Last => call!(m, C_VerifyFinal(handle, place, sized)),
        };
        let init = self
            .sessions
            .get(&handle)
            .map(|session| self.check_init(session, session.verify.is_some(), key, key_type, CKA_VERIFY));
        let expected = match (self.sessions.get_mut(&handle), init) {
            (Some(session), Some(init)) => {
                let uses_data = matches!(step, Step::Update | Step::Whole);
                let work = session.verify.take();
                let (rv, rest) = match (step, work) {
                    (Step::Init, work) if init != CKR_OK => (init, work),
                    (Step::Init, _) => (CKR_OK, Some(Work { does, encrypts: true, stage: Stage::Fresh })),
                    _ if uses_data && bad => (CKR_ARGUMENTS_BAD, None),
                    (_, None) => (CKR_OPERATION_NOT_INITIALIZED, None),
                    (Step::Update, Some(work)) => {
                        let (rv, _, rest) = work.absorb(len);
                        (rv, rest)
                    }
                    (step, Some(work)) => (work.verify(size, step == Step::Whole), None),
                };
                session.verify = rest;
                rv
            }
            _ => CKR_SESSION_HANDLE_INVALID,
        };
        self.same(format!("verify {step:?}({handle:#x}, {does:?}, {len} bytes, signature {size})"), expected, found);
    }

    /// C_DigestEncryptUpdate: the digest is fed what the encryption takes, and an error ends both.
    pub(super) fn dual_call(&mut self) {
        let handle = self.some_session();
        let offer = self.some_offer(ROOMS);
        let mut buffer = [3u8; 64];
        let (part, len, bad) = self.some_part(&mut buffer);
        let (m, length) = (self.m, len as CK_ULONG);
        // Both at work, most of the time.
        if self.sessions.contains_key(&handle) && !self.dice.rarely(4) {
            let mut mechanism = Mech::new(CKM_SHA256).raw();
            let rv = call!(m, C_DigestInit(handle, &raw mut mechanism));
            let session = self.sessions.entry(handle).or_default();
            let expected = if session.digest.is_some() { CKR_OPERATION_ACTIVE } else { CKR_OK };
            session.digest.get_or_insert(Digest { size: 32, stage: Stage::Fresh });
            self.same(format!("digest Init({handle:#x}, to do two at once)"), expected, rv);
        }
        let (found, _) = offered(offer, |out, size| call!(m, C_DigestEncryptUpdate(handle, part, length, out, size)));
        let expected = match self.sessions.get_mut(&handle) {
            None => (CKR_SESSION_HANDLE_INVALID, None),
            Some(session) => {
                let (rv, told, both) = match (session.digest.take(), session.encrypt.take()) {
                    _ if offer == Offer::NoLength || bad => (CKR_ARGUMENTS_BAD, None, None),
                    (Some(digest), Some(work)) => match work.update(len, offer) {
                        (CKR_OK, told, Some(work)) if offer != Offer::Ask => match digest.update() {
                            (CKR_OK, _, Some(digest)) => (CKR_OK, told, Some((digest, work))),
                            (rv, ..) => (rv, None, None),
                        },
                        (rv, told, Some(work)) => (rv, told, Some((digest, work))),
                        (rv, ..) => (rv, None, None),
                    },
                    _ => (CKR_OPERATION_NOT_INITIALIZED, None, None),
                };
                (session.digest, session.encrypt) = both.unzip();
                (rv, told)
            }
        };
        self.same(format!("C_DigestEncryptUpdate({handle:#x}, {len} bytes, {offer:?})"), expected, found);
    }

    pub(super) fn cancel(&mut self) {
        let handle = self.some_session();
        let flags = self.dice.of(&[CKF_ENCRYPT, CKF_DECRYPT | CKF_SIGN, CKF_DIGEST, CKF_VERIFY, CKF_FIND_OBJECTS, 0]);
        let rv = call!(self.m, C_SessionCancel(handle, flags));
        let expected = match self.sessions.get_mut(&handle) {
            None => CKR_SESSION_HANDLE_INVALID,
            Some(session) => {
                if flags & CKF_ENCRYPT != 0 {
                    session.encrypt = None;
                }
                if flags & CKF_DECRYPT != 0 {
                    session.decrypt = None;
                }
                if flags & CKF_SIGN != 0 {
                    session.sign = None;
                }
                if flags & CKF_DIGEST != 0 {
                    session.digest = None;
                }
                if flags & CKF_VERIFY != 0 {
                    session.verify = None;
                }
                if flags & CKF_FIND_OBJECTS != 0 {
                    session.find = None;
                }
                CKR_OK
            }
        };
        self.same(format!("C_SessionCancel({handle:#x}, {flags:#x})"), expected, rv);
    }
}
