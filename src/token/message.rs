//! Operations that do one message after the other with one key (PKCS#11 3.2 §5.9, §5.11, §5.14, §5.16), and C_VerifySignature,
//! which is told the signature before the data. An error ends the message that it befalls, not the operation.

use cryptoki_sys::*;

use crate::crypto::append;
use crate::error::{Error, Result};
use crate::model::algorithm::{Cipher, Job};
use crate::model::{Bytes, Iv};
use crate::token::iv::{Generator, IvMaker};
use crate::token::operate::{DECRYPT, ENCRYPT, SIGN, VERIFY, bad_parameter};
use crate::token::operation::Work;
use crate::token::parameter::{GcmMessage, Made};
use crate::token::place::{begin, taken};
use crate::token::{Answer, Mechanism, Parameter, Room, Session, ck};

/// Room for whatever there is: who asked for it has looked at the caller's room before.
const ANY: Room = Room::Bytes(usize::MAX);

/// What is going on in a session by messages. Boxed: few sessions do this, and all are made and dropped.
#[derive(Default)]
pub struct Messages {
    encrypt: Option<Box<Aead>>,
    decrypt: Option<Box<Aead>>,
    sign: Option<Box<Signing>>,
    verify: Option<Box<Signing>>,
}

/// Encryption or decryption by GCM.
struct Aead {
    pattern: Work,
    maker: Option<IvMaker>,
    message: Option<Message>,
}

/// A message that comes in parts.
struct Message {
    work: Work,
    /// The tag's length in bytes.
    tag: usize,
    fed: usize,
    out: usize,
}

/// Signing or verifying.
struct Signing {
    pattern: Work,
    message: Option<Work>,
}

impl Messages {
    pub fn abort(&mut self, flags: CK_FLAGS) {
        if flags & CKF_MESSAGE_ENCRYPT != 0 {
            self.encrypt = None;
        }
        if flags & CKF_MESSAGE_DECRYPT != 0 {
            self.decrypt = None;
        }
        if flags & CKF_MESSAGE_SIGN != 0 {
            self.sign = None;
        }
        if flags & CKF_MESSAGE_VERIFY != 0 {
            self.verify = None;
        }
    }

    pub fn is_busy(&self) -> bool {
        self.encrypt.is_some() || self.decrypt.is_some() || self.sign.is_some() || self.verify.is_some()
    }
}

impl GcmMessage {
    fn tag_bytes(&self) -> Result<usize> {
        match self.tag_bits {
            32 | 64 | 96 | 104 | 112 | 120 | 128 => Ok((self.tag_bits / 8) as usize),
            _ => Err(bad_parameter()),
        }
    }

    fn cipher(&self, iv: &[u8], aad: &[u8]) -> Result<Cipher> {
        if iv.is_empty() || iv.len() > 256 {
            return Err(bad_parameter());
        }
        Ok(Cipher::AesGcm { iv: Iv::from_slice(iv), aad: Bytes::copy_of(aad)?.into_vec(), tag: self.tag_bytes()? })
    }
}

impl Aead {
    /// The IV of the next message; `true`: it was made here.
    fn iv(&mut self, parameter: &GcmMessage) -> Result<(Vec<u8>, bool)> {
        let generator = Generator::of(parameter.generator)?;
        if generator == Generator::Caller {
            return Ok((parameter.iv.clone(), false));
        }
        let (bits, iv) = (parameter.fixed_bits, &parameter.iv);
        let maker = match &mut self.maker {
            Some(maker) if maker.goes_on(generator, bits, iv) => maker,
            place => place.insert(IvMaker::new(generator, bits, iv)?),
        };
        Ok((maker.make()?, true))
    }

    fn idle(&self) -> Result<()> {
        if self.message.is_some() { Err(ck(CKR_OPERATION_ACTIVE)) } else { Ok(()) }
    }
}

impl Signing {
    fn idle(&self) -> Result<()> {
        if self.message.is_some() { Err(ck(CKR_OPERATION_ACTIVE)) } else { Ok(()) }
    }
}

/// The mechanism with a parameter that stands for those of the messages.
fn pattern(mechanism: Mechanism) -> Mechanism {
    let parameter = match mechanism.kind {
        CKM_AES_GCM => Parameter::Gcm { iv: Iv::from_slice(&[0; 12]), iv_bits: 96, aad: Vec::new(), tag_bits: 128 },
        _ => mechanism.parameter,
    };
    Mechanism { kind: mechanism.kind, parameter }
}

/// The room that is offered, unless it is too little or only asked about.
fn enough(need: usize, room: Room) -> Option<Answer> {
    match room {
        Room::Ask => Some(Answer::Size(need)),
        Room::Bytes(room) if room < need => Some(Answer::TooSmall(need)),
        Room::Bytes(_) => None,
    }
}

/// The message goes on.
fn put_back(aead: &mut Option<Box<Aead>>, message: Message) {
    if let Some(aead) = aead {
        aead.message = Some(message);
    }
}

fn bytes(answer: Answer) -> Result<Bytes> {
    match answer {
        Answer::Bytes(bytes) => Ok(bytes),
        _ => Err(Error::Internal("room for anything was too little".to_owned())),
    }
}

fn aead_fault(error: Error) -> Error {
    match error {
        Error::Ciphertext => ck(CKR_AEAD_DECRYPT_FAILED),
        other => other,
    }
}

impl Session {
    pub fn message_encrypt_init(&mut self, mechanism: Option<Mechanism>, key: u64) -> Result<()> {
        begin(&mechanism, &mut self.messages.encrypt)?;
        let Some(mechanism) = mechanism else { return Ok(()) };
        let pattern = self.prepare_as(pattern(mechanism), key, ENCRYPT, CKF_MESSAGE_ENCRYPT)?;
        self.messages.encrypt = Some(Box::new(Aead { pattern, maker: None, message: None }));
        Ok(())
    }

    pub fn message_decrypt_init(&mut self, mechanism: Option<Mechanism>, key: u64) -> Result<()> {
        begin(&mechanism, &mut self.messages.decrypt)?;
        let Some(mechanism) = mechanism else { return Ok(()) };
        let pattern = self.prepare_as(pattern(mechanism), key, DECRYPT, CKF_MESSAGE_DECRYPT)?;
        self.messages.decrypt = Some(Box::new(Aead { pattern, maker: None, message: None }));
        Ok(())
    }

    pub fn encrypt_message(
        &mut self,
        parameter: &GcmMessage,
        aad: &[u8],
        plaintext: &[u8],
        room: Room,
    ) -> Result<(Answer, Made)> {
        let aead = taken(self.messages.encrypt.as_mut())?;
        aead.idle()?;
        parameter.tag_bytes()?;
        if let Some(answer) = enough(plaintext.len(), room) {
            return Ok((answer, Made::default()));
        }
        let (iv, made) = aead.iv(parameter)?;
        let work = aead.pattern.anew(Some(Job::Encrypt(parameter.cipher(&iv, aad)?)));
        let mut output = bytes(work.single(self, plaintext, ANY)?.0)?;
        let tag = output.split_off(plaintext.len());
        Ok((Answer::Bytes(output), Made { iv: made.then_some(iv), tag: Some(tag) }))
    }

    pub fn decrypt_message(
        &mut self,
        parameter: &GcmMessage,
        aad: &[u8],
        ciphertext: &[u8],
        room: Room,
    ) -> Result<Answer> {
        let aead = taken(self.messages.decrypt.as_ref())?;
        aead.idle()?;
        let cipher = parameter.cipher(&parameter.iv, aad)?;
        if let Some(answer) = enough(ciphertext.len(), room) {
            return Ok(answer);
        }
        let work = aead.pattern.anew(Some(Job::Decrypt(cipher)));
        let mut whole = Bytes::with_room(ciphertext.len().saturating_add(parameter.tag.len()))?;
        append(&mut whole, ciphertext)?;
        append(&mut whole, &parameter.tag)?;
        work.single(self, &whole, ANY).map(|(answer, _)| answer).map_err(aead_fault)
    }

    /// Answers the IV, if it was made here.
    pub fn encrypt_message_begin(&mut self, parameter: &GcmMessage, aad: &[u8]) -> Result<Made> {
        let aead = taken(self.messages.encrypt.as_mut())?;
        aead.idle()?;
        parameter.tag_bytes()?;
        let (iv, made) = aead.iv(parameter)?;
        let work = aead.pattern.anew(Some(Job::Encrypt(parameter.cipher(&iv, aad)?)));
        aead.message = Some(Message { work, tag: parameter.tag_bytes()?, fed: 0, out: 0 });
        Ok(Made { iv: made.then_some(iv), tag: None })
    }

    pub fn decrypt_message_begin(&mut self, parameter: &GcmMessage, aad: &[u8]) -> Result<()> {
        let aead = taken(self.messages.decrypt.as_mut())?;
        aead.idle()?;
        let work = aead.pattern.anew(Some(Job::Decrypt(parameter.cipher(&parameter.iv, aad)?)));
        aead.message = Some(Message { work, tag: parameter.tag_bytes()?, fed: 0, out: 0 });
        Ok(())
    }

    /// `last`: CKF_END_OF_MESSAGE, which makes the tag.
    pub fn encrypt_message_next(&mut self, part: &[u8], room: Room, last: bool) -> Result<(Answer, Made)> {
        let mut message = taken(taken(self.messages.encrypt.as_mut())?.message.take())?;
        if last && let Some(answer) = enough(message.fed + part.len() - message.out, room) {
            put_back(&mut self.messages.encrypt, message);
            return Ok((answer, Made::default()));
        }
        let (answer, rest) = message.work.transform(self, part, if last { ANY } else { room })?;
        message.work = taken(rest)?;
        let Answer::Bytes(mut output) = answer else {
            put_back(&mut self.messages.encrypt, message);
            return Ok((answer, Made::default()));
        };
        message.fed += part.len();
        message.out += output.len();
        if !last {
            put_back(&mut self.messages.encrypt, message);
            return Ok((Answer::Bytes(output), Made::default()));
        }
        let end = bytes(message.work.last(self, ANY)?.0)?;
        let cut = end.len().checked_sub(message.tag).ok_or_else(|| Error::Internal("no tag".to_owned()))?;
        append(&mut output, &end[..cut])?;
        Ok((Answer::Bytes(output), Made { iv: None, tag: Some(end[cut..].to_vec()) }))
    }

    /// Nothing goes out before the tag, which `parameter` brings with the last part, was checked.
    pub fn decrypt_message_next(
        &mut self,
        parameter: &GcmMessage,
        part: &[u8],
        room: Room,
        last: bool,
    ) -> Result<Answer> {
        let mut message = taken(taken(self.messages.decrypt.as_mut())?.message.take())?;
        let need = if last { message.fed + part.len() } else { 0 };
        if let Some(answer) = enough(need, room) {
            put_back(&mut self.messages.decrypt, message);
            return Ok(answer);
        }
        let (_, rest) = message.work.transform(self, part, ANY)?;
        message.work = taken(rest)?;
        message.fed += part.len();
        if !last {
            put_back(&mut self.messages.decrypt, message);
            return Ok(Answer::Bytes(Bytes::default()));
        }
        if parameter.tag_bytes()? != message.tag {
            return Err(bad_parameter());
        }
        let (_, rest) = message.work.transform(self, &parameter.tag, ANY)?;
        taken(rest)?.last(self, ANY).map(|(answer, _)| answer).map_err(aead_fault)
    }

    pub fn message_sign_init(&mut self, mechanism: Option<Mechanism>, key: u64) -> Result<()> {
        begin(&mechanism, &mut self.messages.sign)?;
        let Some(mechanism) = mechanism else { return Ok(()) };
        let pattern = self.prepare_as(mechanism, key, SIGN, CKF_MESSAGE_SIGN)?;
        self.messages.sign = Some(Box::new(Signing { pattern, message: None }));
        Ok(())
    }

    pub fn message_verify_init(&mut self, mechanism: Option<Mechanism>, key: u64) -> Result<()> {
        begin(&mechanism, &mut self.messages.verify)?;
        let Some(mechanism) = mechanism else { return Ok(()) };
        let pattern = self.prepare_as(mechanism, key, VERIFY, CKF_MESSAGE_VERIFY)?;
        self.messages.verify = Some(Box::new(Signing { pattern, message: None }));
        Ok(())
    }

    pub fn sign_message(&mut self, data: &[u8], room: Room) -> Result<Answer> {
        let signing = taken(self.messages.sign.as_ref())?;
        signing.idle()?;
        let work = signing.pattern.anew(None);
        work.single(self, data, room).map(|(answer, _)| answer)
    }

    pub fn sign_message_begin(&mut self) -> Result<()> {
        let signing = taken(self.messages.sign.as_mut())?;
        signing.idle()?;
        signing.message = Some(signing.pattern.anew(None));
        Ok(())
    }

    /// `room` None: more is to come. A length query or too little room takes nothing of `data`.
    pub fn sign_message_next(&mut self, data: &[u8], room: Option<Room>) -> Result<Answer> {
        let work = taken(taken(self.messages.sign.as_mut())?.message.take())?;
        let short = room.and_then(|room| enough(work.most(), room));
        let (answer, kept) = match short {
            Some(answer) => (answer, Some(work)),
            None => {
                let work = work.absorb(self, data)?;
                match room {
                    None => (Answer::Size(0), Some(work)),
                    Some(_) => (work.last(self, ANY)?.0, None),
                }
            }
        };
        if let Some(signing) = &mut self.messages.sign {
            signing.message = kept;
        }
        Ok(answer)
    }

    pub fn verify_message(&mut self, data: &[u8], signature: &[u8]) -> Result<()> {
        let signing = taken(self.messages.verify.as_ref())?;
        signing.idle()?;
        signing.pattern.anew(None).verify(self, data, signature)
    }

    pub fn verify_message_begin(&mut self) -> Result<()> {
        let signing = taken(self.messages.verify.as_mut())?;
        signing.idle()?;
        signing.message = Some(signing.pattern.anew(None));
        Ok(())
    }

    /// `signature` None: more is to come.
    pub fn verify_message_next(&mut self, data: &[u8], signature: Option<&[u8]>) -> Result<()> {
        let work = taken(taken(self.messages.verify.as_mut())?.message.take())?.absorb(self, data)?;
        match (signature, &mut self.messages.verify) {
            (Some(signature), _) => work.verify_last(self, signature)?,
            (None, Some(signing)) => signing.message = Some(work),
            (None, None) => {}
        }
        Ok(())
    }

    /// C_Message…Final, by the flag of what ends.
    pub fn message_final(&mut self, flag: CK_FLAGS) -> Result<()> {
        let messages = &self.messages;
        let active = match flag {
            CKF_MESSAGE_ENCRYPT => messages.encrypt.is_some(),
            CKF_MESSAGE_DECRYPT => messages.decrypt.is_some(),
            CKF_MESSAGE_SIGN => messages.sign.is_some(),
            _ => messages.verify.is_some(),
        };
        self.messages.abort(flag);
        taken(active.then_some(()))
    }

    pub fn verify_signature_init(&mut self, mechanism: Option<Mechanism>, key: u64, signature: &[u8]) -> Result<()> {
        begin(&mechanism, &mut self.verify_signature)?;
        let Some(mechanism) = mechanism else { return Ok(()) };
        let work = self.prepare_as(mechanism, key, VERIFY, CKF_VERIFY)?;
        work.check_length(signature)?;
        self.verify_signature = Some(Box::new((work, Bytes::copy_of(signature)?.into_vec())));
        Ok(())
    }

    /// An error in the arguments ends it.
    pub fn verify_signature(&mut self, data: Result<&[u8]>) -> Result<()> {
        let (work, signature) = *taken(self.verify_signature.take())?;
        work.verify(self, data?, &signature)
    }

    pub fn verify_signature_update(&mut self, part: Result<&[u8]>) -> Result<()> {
        let (work, signature) = *taken(self.verify_signature.take())?;
        self.verify_signature = Some(Box::new((work.absorb(self, part?)?, signature)));
        Ok(())
    }

    pub fn verify_signature_final(&mut self) -> Result<()> {
        let (work, signature) = *taken(self.verify_signature.take())?;
        work.verify_last(self, &signature)
    }
}
