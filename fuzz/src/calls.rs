//! Sequences of calls in two sessions: operations of every kind in every order, in parts and at once, with too little room,
//! cancelled, and with objects that come and go.

use arbitrary::{Result, Unstructured};
use cryptoki_sys::*;

use super::door::{Door, call, door};
use super::make::{Arena, mechanism, template};
use super::templates::check;

/// Calls of one run.
const MOST: usize = 40;

type Init = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
type Through = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG) -> CK_RV;
type Into = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut u8, CK_ULONG) -> CK_RV;
type Out = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut u8, *mut CK_ULONG) -> CK_RV;
type Bare = unsafe extern "C" fn(CK_SESSION_HANDLE) -> CK_RV;

/// The functions of these names, all of one type.
macro_rules! of {
    ($door:expr, $($name:ident)*) => { [$($door.list.$name),*].map(|found| found.expect("every function is there")) };
}

fn inits(door: &Door) -> [Init; 10] {
    of!(door, C_EncryptInit C_DecryptInit C_SignInit C_VerifyInit C_SignRecoverInit C_VerifyRecoverInit
        C_MessageEncryptInit C_MessageDecryptInit C_MessageSignInit C_MessageVerifyInit)
}

fn throughs(door: &Door) -> [Through; 12] {
    of!(door, C_Encrypt C_EncryptUpdate C_Decrypt C_DecryptUpdate C_Digest C_Sign C_SignRecover C_VerifyRecover
        C_DigestEncryptUpdate C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate)
}

fn intos(door: &Door) -> [Into; 7] {
    of!(door, C_DigestUpdate C_SignUpdate C_VerifyUpdate C_VerifyFinal C_SeedRandom C_VerifySignature
        C_VerifySignatureUpdate)
}

fn outs(door: &Door) -> [Out; 5] {
    of!(door, C_EncryptFinal C_DecryptFinal C_DigestFinal C_SignFinal C_GetOperationState)
}

fn bares(door: &Door) -> [Bare; 6] {
    of!(door, C_FindObjectsFinal C_VerifySignatureFinal C_MessageEncryptFinal C_MessageDecryptFinal C_MessageSignFinal
        C_MessageVerifyFinal)
}

struct Run<'a> {
    data: Unstructured<'a>,
    arena: Arena,
    sessions: [CK_SESSION_HANDLE; 2],
    objects: Vec<CK_OBJECT_HANDLE>,
    /// What the last output was: a ciphertext to decrypt, a signature to verify.
    last: Vec<u8>,
}

pub fn run(data: &[u8]) {
    let door = door();
    let sessions = [door.session(), door.session()];
    let (data, objects) = (Unstructured::new(data), door.keys.clone());
    let mut run = Run { data, arena: Arena::default(), sessions, objects, last: Vec::new() };
    for _ in 0..MOST {
        if run.step(door).is_err() || run.data.is_empty() {
            break;
        }
    }
    for session in sessions {
        assert_eq!(call!(door, C_CloseSession(session)), CKR_OK);
    }
}

impl Run<'_> {
    fn input(&mut self) -> Result<(*mut u8, CK_ULONG)> {
        if self.data.ratio(1, 4)? {
            return Ok((self.arena.put(&self.last), self.last.len() as CK_ULONG));
        }
        self.arena.bytes(&mut self.data, 80)
    }

    /// Room of any length up to one that is always enough, or the question for it.
    fn output(&mut self) -> Result<(*mut u8, CK_ULONG)> {
        if self.data.ratio(1, 8)? {
            return Ok((std::ptr::null_mut(), self.data.arbitrary()?));
        }
        let len = if self.data.ratio(1, 4)? { self.data.int_in_range(0..=80)? } else { 1024 };
        Ok((self.arena.room(len), len as CK_ULONG))
    }

    fn keep(&mut self, rv: CK_RV, out: *mut u8, len: CK_ULONG) -> CK_RV {
        if rv == CKR_OK && !out.is_null() && len <= 1024 {
            // SAFETY: the room that was given; so much of it was written.
            self.last = unsafe { std::slice::from_raw_parts(out, len as usize) }.to_vec();
        }
        rv
    }

    fn step(&mut self, door: &Door) -> Result<()> {
        let session = self.sessions[usize::from(self.data.ratio(1, 4)?)];
        let object = *self.data.choose(&self.objects)?;
        let mut made = 0;
        let rv = match self.data.int_in_range(0..=19)? {
            0..=3 => {
                let mut mechanism = mechanism(&mut self.data, &mut self.arena, &door.keys)?;
                let init = *self.data.choose(&inits(door))?;
                // SAFETY: of the table; the mechanism outlives the call.
                unsafe { init(session, &raw mut mechanism, object) }
            }
            4..=7 => {
                let ((input, len), (out, mut room)) = (self.input()?, self.output()?);
                let through = *self.data.choose(&throughs(door))?;
                // SAFETY: of the table; buffers of these lengths.
                let rv = unsafe { through(session, input, len, out, &raw mut room) };
                self.keep(rv, out, room)
            }
            8 | 9 => {
                let (input, len) = self.input()?;
                let into = *self.data.choose(&intos(door))?;
                // SAFETY: of the table; a buffer of this length.
                unsafe { into(session, input, len) }
            }
            10 | 11 => {
                let (out, mut room) = self.output()?;
                let outer = *self.data.choose(&outs(door))?;
                // SAFETY: of the table; a buffer of this length.
                let rv = unsafe { outer(session, out, &raw mut room) };
                self.keep(rv, out, room)
            }
            12 => {
                let bare = *self.data.choose(&bares(door))?;
                // SAFETY: of the table.
                unsafe { bare(session) }
            }
            13 => {
                let mut mechanism = mechanism(&mut self.data, &mut self.arena, &door.keys)?;
                call!(door, C_DigestInit(session, &raw mut mechanism))
            }
            14 => {
                let ((input, len), (signature, size)) = (self.input()?, self.input()?);
                call!(door, C_Verify(session, input, len, signature, size))
            }
            15 => self.message(door, session)?,
            16 => self.state(door, session, object)?,
            17 => {
                let (list, count) = template(&mut self.data, &mut self.arena, 4)?;
                let mut mechanism = mechanism(&mut self.data, &mut self.arena, &door.keys)?;
                let mechanism = &raw mut mechanism;
                match self.data.int_in_range(0..=3)? {
                    0 => call!(door, C_CreateObject(session, list, count, &raw mut made)),
                    1 => call!(door, C_GenerateKey(session, mechanism, list, count, &raw mut made)),
                    2 => call!(door, C_DeriveKey(session, mechanism, object, list, count, &raw mut made)),
                    _ => {
                        let (input, len) = self.input()?;
                        call!(door, C_UnwrapKey(session, mechanism, object, input, len, list, count, &raw mut made))
                    }
                }
            }
            18 => {
                let mut mechanism = mechanism(&mut self.data, &mut self.arena, &door.keys)?;
                let (wrapped, (out, mut room)) = (*self.data.choose(&self.objects)?, self.output()?);
                let rv = call!(door, C_WrapKey(session, &raw mut mechanism, object, wrapped, out, &raw mut room));
                self.keep(rv, out, room)
            }
            _ => call!(door, C_DestroyObject(session, object)),
        };
        check(rv);
        if rv == CKR_OK && made != 0 {
            self.objects.push(made);
        }
        Ok(())
    }

    /// CK_GCM_MESSAGE_PARAMS and what goes with it, whole or in parts.
    fn message(&mut self, door: &Door, session: CK_SESSION_HANDLE) -> Result<CK_RV> {
        let (iv, iv_len) = self.arena.bytes(&mut self.data, 16)?;
        let (fixed, generator) = (self.data.int_in_range(0..=130)?, self.data.int_in_range(0..=5)?);
        let tag = self.arena.room(16);
        let bits = *self.data.choose(&[128, 96, 32, 0, 8, 127])?;
        let (parameter, size) = self.arena.words(&[iv as u64, iv_len, fixed, generator, tag as u64, bits]);
        let (parameter, size) = (parameter.cast(), size as CK_ULONG);
        let ((aad, aad_len), (input, len), (out, mut room)) = (self.input()?, self.input()?, self.output()?);
        let room = &raw mut room;
        let flags = u64::from(self.data.arbitrary::<bool>()?) * CKF_END_OF_MESSAGE;
        Ok(match self.data.int_in_range(0..=11)? {
            0 => call!(door, C_EncryptMessage(session, parameter, size, aad, aad_len, input, len, out, room)),
            1 => call!(door, C_DecryptMessage(session, parameter, size, aad, aad_len, input, len, out, room)),
            2 => call!(door, C_EncryptMessageBegin(session, parameter, size, aad, aad_len)),
            3 => call!(door, C_EncryptMessageNext(session, parameter, size, input, len, out, room, flags)),
            4 => call!(door, C_DecryptMessageBegin(session, parameter, size, aad, aad_len)),
            5 => call!(door, C_DecryptMessageNext(session, parameter, size, input, len, out, room, flags)),
            6 => call!(door, C_SignMessage(session, std::ptr::null_mut(), 0, input, len, out, room)),
            7 => call!(door, C_SignMessageBegin(session, std::ptr::null_mut(), 0)),
            8 => call!(door, C_SignMessageNext(session, std::ptr::null_mut(), 0, input, len, out, room)),
            9 => call!(door, C_VerifyMessage(session, std::ptr::null_mut(), 0, input, len, aad, aad_len)),
            10 => call!(door, C_VerifyMessageBegin(session, std::ptr::null_mut(), 0)),
            _ => call!(door, C_VerifyMessageNext(session, std::ptr::null_mut(), 0, input, len, aad, aad_len)),
        })
    }

    /// What belongs to no operation of its own.
    fn state(&mut self, door: &Door, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Result<CK_RV> {
        let (input, len) = self.input()?;
        let mut number = 0;
        Ok(match self.data.int_in_range(0..=6)? {
            0 => call!(door, C_SessionCancel(session, self.data.arbitrary()?)),
            1 => call!(door, C_DigestKey(session, object)),
            2 => call!(door, C_SetOperationState(session, input, len, 0, 0)),
            3 => call!(door, C_GetObjectSize(session, object, &raw mut number)),
            4 => call!(door, C_GenerateRandom(session, input, if input.is_null() { 0 } else { len })),
            5 => {
                let mut mechanism = mechanism(&mut self.data, &mut self.arena, &door.keys)?;
                call!(door, C_VerifySignatureInit(session, &raw mut mechanism, object, input, len))
            }
            _ => {
                let (list, count) = template(&mut self.data, &mut self.arena, 4)?;
                call!(door, C_FindObjectsInit(session, list, count))
            }
        })
    }
}
