//! What can be asked of a session, in one table: from it come the methods that the door calls, the messages, and what the host
//! does for each.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes as Raw;

use super::act::Act;
use super::forms::{Form, Lend};
use super::host::reply;
use super::info::SessionInfo;
use super::seat::Seated;
use super::show::Told;
use crate::error::Result;
use crate::model::Bytes;
use crate::token::parameter::{GcmMessage, Made};
use crate::token::wrap::Wrapped;
use crate::token::{self, Answer, Mechanism, Room, Template};

/// What a call does, which decides what happens when its answer is lost and what is remembered of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Nothing that anybody could notice: it is asked again.
    Looks,
    /// It makes, changes or destroys something, and may take long: it is never asked twice.
    Changes,
    /// It begins an operation, which a new host is told to begin, too.
    Begins(Op),
    /// It is one step of several: what is lost then cannot be gone on with.
    Feeds(&'static [Op]),
    /// It is all of an operation, unless it only asks how long the answer is.
    Ends(Op),
}

/// What a session can be in the midst of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Decrypt,
    Digest,
    Encrypt,
    Find,
    Sign,
    Verify,
    VerifySignature,
}

impl Op {
    pub const ALL: [Self; 7] =
        [Self::Decrypt, Self::Digest, Self::Encrypt, Self::Find, Self::Sign, Self::Verify, Self::VerifySignature];
}

/// A session, for as long as one call has it to itself.
pub enum Session<'a> {
    Here(&'a mut token::Session),
    There(Seated<'a>),
}

macro_rules! calls {
    ($($does:ident $(($op:expr))? $name:ident $Name:ident ($($arg:ident: $form:ty),*) -> $out:ty;)*) => {
        /// What is asked of a host. Handles of objects are the host's own.
        #[derive(Serialize, Deserialize)]
        #[serde(bound(deserialize = "'de: 'a"))]
        pub enum Ask<'a> {
            Act(Act<'a>),
            /// Ends operations.
            Cancel { flags: u64 },
            Close,
            CloseAll { slot: u64 },
            Encrypt { data: &'a Raw, room: Room },
            Find { max: usize },
            FindInit { template: Cow<'a, Template> },
            FindFinal,
            Info,
            InitPin { pin: Option<&'a Raw> },
            InitToken { slot: u64, pin: Option<&'a Raw>, label: &'a Raw },
            /// Answered with the name of the RAM user that it is.
            Login { user: u64, pin: Option<&'a Raw>, name: Option<&'a Raw> },
            Logout,
            MechanismInfo { slot: u64, kind: u64 },
            Mechanisms { slot: u64 },
            /// The other names by which objects were found, in the order of their handles.
            Names { slot: u64 },
            Open { slot: u64, flags: u64 },
            /// What another host told to [`Ask::Names`].
            SetNames { slot: u64, names: Vec<(u64, Vec<u8>)> },
            SetPin { old: Option<&'a Raw>, new: Option<&'a Raw> },
            Show { object: u64, kinds: Vec<u64> },
            SlotInfo { slot: u64 },
            Slots,
            TokenInfo { slot: u64 },
            $($Name { $($arg: $form),* },)*
        }

        impl Session<'_> {
            $(#[inline]
            #[allow(clippy::extra_unused_lifetimes)]
            pub fn $name<'a>(&mut self, $($arg: <$form as Form<'a>>::Arg),*) -> Result<$out> {
                match self {
                    Self::Here(session) => session.$name($($arg),*),
                    Self::There(seated) => seated.$name($($arg),*),
                }
            })*
        }

        // Apart, so that the way here has not to make room for what is asked there.
        impl Seated<'_> {
            $(#[cold]
            #[inline(never)]
            #[allow(clippy::extra_unused_lifetimes)]
            pub fn $name<'a>(&mut self, $($arg: <$form as Form<'a>>::Arg),*) -> Result<$out> {
                self.ask(Does::$does $(($op))?, &Ask::$Name { $($arg: Form::of($arg)),* })
            })*
        }

        /// The host's part: the answer as it is sent; None for what is not asked of a session.
        pub(super) fn answer(session: &mut token::Session, ask: &Ask<'_>) -> Option<Bytes> {
            match ask {
                Ask::Cancel { flags } => reply(session.cancel(*flags)),
                Ask::Encrypt { data, room } => reply(session.encrypt(data, *room, None)),
                Ask::Find { max } => reply(session.find(*max)),
                Ask::FindInit { template } => reply(session.find_init(template)),
                Ask::FindFinal => reply(session.find_final()),
                Ask::Info => reply(Ok(SessionInfo::from(session.info()))),
                Ask::Show { object, kinds } => reply(session.show(*object, |item| Ok(Told::all(item, kinds)))),
                $(Ask::$Name { $($arg),* } => reply(session.$name($(Lend::lend($arg)),*)),)*
                _ => None,
            }
        }
    };
}

calls! {
    Begins(Op::Encrypt) encrypt_init EncryptInit(mechanism: Option<Mechanism>, key: u64) -> ();
    Begins(Op::Decrypt) decrypt_init DecryptInit(mechanism: Option<Mechanism>, key: u64) -> ();
    Begins(Op::Sign) sign_init SignInit(mechanism: Option<Mechanism>, key: u64) -> ();
    Begins(Op::Verify) verify_init VerifyInit(mechanism: Option<Mechanism>, key: u64) -> ();
    Begins(Op::Digest) digest_init DigestInit(mechanism: Option<Cow<'a, Mechanism>>) -> ();
    Begins(Op::VerifySignature) verify_signature_init VerifySignatureInit(
        mechanism: Option<Mechanism>, key: u64, signature: &'a Raw) -> ();

    Ends(Op::Decrypt) decrypt Decrypt(data: &'a Raw, room: Room) -> Answer;
    Ends(Op::Sign) sign Sign(data: &'a Raw, room: Room) -> Answer;
    Ends(Op::Verify) verify Verify(data: &'a Raw, signature: &'a Raw) -> ();
    Ends(Op::Digest) digest Digest(data: &'a Raw, room: Room) -> Answer;
    Ends(Op::VerifySignature) verify_signature VerifySignature(data: Result<&'a Raw, u64>) -> ();

    Feeds(&[Op::Encrypt]) encrypt_update EncryptUpdate(part: &'a Raw, room: Room) -> Answer;
    Feeds(&[Op::Encrypt]) encrypt_final EncryptFinal(room: Room) -> Answer;
    Feeds(&[Op::Decrypt]) decrypt_update DecryptUpdate(part: &'a Raw, room: Room) -> Answer;
    Feeds(&[Op::Decrypt]) decrypt_final DecryptFinal(room: Room) -> Answer;
    Feeds(&[Op::Sign]) sign_update SignUpdate(part: &'a Raw) -> ();
    Feeds(&[Op::Sign]) sign_final SignFinal(room: Room) -> Answer;
    Feeds(&[Op::Verify]) verify_update VerifyUpdate(part: &'a Raw) -> ();
    Feeds(&[Op::Verify]) verify_final VerifyFinal(signature: &'a Raw) -> ();
    Feeds(&[Op::Digest]) digest_update DigestUpdate(part: &'a Raw) -> ();
    Feeds(&[Op::Digest]) digest_key DigestKey(key: u64) -> ();
    Feeds(&[Op::Digest]) digest_final DigestFinal(room: Room) -> Answer;
    Feeds(&[Op::VerifySignature]) verify_signature_update VerifySignatureUpdate(part: Result<&'a Raw, u64>) -> ();
    Feeds(&[Op::VerifySignature]) verify_signature_final VerifySignatureFinal() -> ();
    Feeds(&[Op::Digest, Op::Encrypt]) digest_encrypt_update DigestEncryptUpdate(part: &'a Raw, room: Room) -> Answer;
    Feeds(&[Op::Decrypt, Op::Digest]) decrypt_digest_update DecryptDigestUpdate(part: &'a Raw, room: Room) -> Answer;
    Feeds(&[Op::Sign, Op::Encrypt]) sign_encrypt_update SignEncryptUpdate(part: &'a Raw, room: Room) -> Answer;
    Feeds(&[Op::Decrypt, Op::Verify]) decrypt_verify_update DecryptVerifyUpdate(part: &'a Raw, room: Room) -> Answer;

    // Nothing of these is begun anew by a new host: an IV that is counted would be counted from the beginning again.
    Feeds(&[]) message_encrypt_init MessageEncryptInit(mechanism: Option<Mechanism>, key: u64) -> ();
    Feeds(&[]) message_decrypt_init MessageDecryptInit(mechanism: Option<Mechanism>, key: u64) -> ();
    Feeds(&[]) message_sign_init MessageSignInit(mechanism: Option<Mechanism>, key: u64) -> ();
    Feeds(&[]) message_verify_init MessageVerifyInit(mechanism: Option<Mechanism>, key: u64) -> ();
    Feeds(&[]) encrypt_message EncryptMessage(
        parameter: Cow<'a, GcmMessage>, aad: &'a Raw, plaintext: &'a Raw, room: Room) -> (Answer, Made);
    Feeds(&[]) decrypt_message DecryptMessage(
        parameter: Cow<'a, GcmMessage>, aad: &'a Raw, ciphertext: &'a Raw, room: Room) -> Answer;
    Feeds(&[]) encrypt_message_begin EncryptMessageBegin(parameter: Cow<'a, GcmMessage>, aad: &'a Raw) -> Made;
    Feeds(&[]) decrypt_message_begin DecryptMessageBegin(parameter: Cow<'a, GcmMessage>, aad: &'a Raw) -> ();
    Feeds(&[]) encrypt_message_next EncryptMessageNext(part: &'a Raw, room: Room, last: bool) -> (Answer, Made);
    Feeds(&[]) decrypt_message_next DecryptMessageNext(
        parameter: Cow<'a, GcmMessage>, part: &'a Raw, room: Room, last: bool) -> Answer;
    Feeds(&[]) sign_message SignMessage(data: &'a Raw, room: Room) -> Answer;
    Feeds(&[]) sign_message_begin SignMessageBegin() -> ();
    Feeds(&[]) sign_message_next SignMessageNext(data: &'a Raw, room: Option<Room>) -> Answer;
    Feeds(&[]) verify_message VerifyMessage(data: &'a Raw, signature: &'a Raw) -> ();
    Feeds(&[]) verify_message_begin VerifyMessageBegin() -> ();
    Feeds(&[]) verify_message_next VerifyMessageNext(data: &'a Raw, signature: Option<&'a Raw>) -> ();
    Feeds(&[]) message_final MessageFinal(flag: u64) -> ();

    Looks object_size ObjectSize(object: u64) -> u64;
    Looks operation_state OperationState(room: Room) -> Answer;
    Looks seed_random SeedRandom(seed: &'a Raw) -> ();
    Looks generate_random GenerateRandom(length: usize) -> Vec<u8>;
    Looks wrap_key WrapKey(
        mechanism: Cow<'a, Mechanism>, wrapping: u64, key: u64, aad: Option<&'a Raw>, room: Room) -> Wrapped;

    Feeds(&Op::ALL) set_operation_state SetOperationState(state: &'a Raw, keys: [u64; 2]) -> ();
    Changes create_object CreateObject(template: Cow<'a, Template>) -> u64;
    Changes copy_object CopyObject(object: u64, template: Cow<'a, Template>) -> u64;
    Changes destroy_object DestroyObject(object: u64) -> ();
    Changes set_attributes SetAttributes(object: u64, template: Cow<'a, Template>) -> ();
    Changes generate_key GenerateKey(mechanism: Cow<'a, Mechanism>, template: Cow<'a, Template>) -> u64;
    Changes generate_key_pair GenerateKeyPair(
        mechanism: Cow<'a, Mechanism>, public: Cow<'a, Template>, private: Cow<'a, Template>) -> (u64, u64);
    Changes unwrap_key UnwrapKey(
        mechanism: Cow<'a, Mechanism>, unwrapping: u64, wrapped: &'a Raw, template: Cow<'a, Template>,
        aad: Option<&'a Raw>) -> u64;
    Changes derive_key DeriveKey(mechanism: Cow<'a, Mechanism>, base: u64, template: Cow<'a, Template>) -> u64;
}
