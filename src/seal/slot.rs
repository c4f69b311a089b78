//! Slots: each holds the key-encryption key wrapped for one way of opening it. Changing a PIN rewrites one slot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use super::{KEY_LEN, Kek, derive, random, seal_with, unseal_with};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::names::hex_bytes;

const SALT_LEN: usize = 16;
/// A stored cost beyond this is not ours: it would only exhaust the machine.
const MAX_COST: Cost = Cost { memory_kib: 1 << 20, passes: 64 };

/// Which slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SlotKind {
    File,
    /// The PIN of the RAM user with this ID.
    RamUser(Uuid),
    SoPin,
    UserPin,
}

impl SlotKind {
    /// As the store writes it, and as it is bound to the wrapped key.
    pub fn name(self) -> String {
        match self {
            Self::File => "File".to_owned(),
            Self::RamUser(id) => format!("RamUser {id}"),
            Self::SoPin => "SoPin".to_owned(),
            Self::UserPin => "UserPin".to_owned(),
        }
    }
}

/// What one attempt at a PIN costs (Argon2id, one lane). Kept in the slot, so that a slot opens with the cost it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
}

/// 64 MiB, 3 passes. Nothing outside the program changes it; tests name a smaller one.
impl Default for Cost {
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3 }
    }
}

/// A slot as stored (JSON). Contains nothing that is secret without the PIN or the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub kind: SlotKind,
    /// PINs only.
    cost: Option<Cost>,
    #[serde(with = "hex_bytes")]
    salt: Vec<u8>,
    /// [`Kek::proof`] of the key within.
    #[serde(with = "hex_bytes")]
    proof: Vec<u8>,
    /// Nonce ‖ ciphertext ‖ tag.
    #[serde(with = "hex_bytes")]
    wrapped: Vec<u8>,
}

impl Slot {
    /// `pin`: 4 to 255 bytes, else `Error::PinInvalid`. Argon2id v1.3 at the default [`Cost`].
    pub fn with_pin(kind: SlotKind, realm: &str, pin: &[u8], kek: &Kek) -> Result<Self> {
        Self::with_pin_cost(kind, realm, pin, kek, Cost::default())
    }

    /// As [`Slot::with_pin`], for those who must choose the cost.
    pub fn with_pin_cost(kind: SlotKind, realm: &str, pin: &[u8], kek: &Kek, cost: Cost) -> Result<Self> {
        if kind == SlotKind::File {
            return Err(Error::Internal("a PIN does not go into the slot of the unlock file".into()));
        }
        if !(4..=255).contains(&pin.len()) {
            return Err(Error::PinInvalid("it has 4 to 255 bytes".into()));
        }
        Self::wrap(kind, realm, pin, kek, Some(cost))
    }

    /// `secret`: the 32 bytes of the unlock file. They are random, so HKDF is enough.
    pub fn with_file(realm: &str, secret: &[u8], kek: &Kek) -> Result<Self> {
        if secret.len() != KEY_LEN {
            return Err(Error::PinInvalid(format!("an unlock file holds {KEY_LEN} bytes")));
        }
        Self::wrap(SlotKind::File, realm, secret, kek, None)
    }

    fn wrap(kind: SlotKind, realm: &str, secret: &[u8], kek: &Kek, cost: Option<Cost>) -> Result<Self> {
        let salt = random::<SALT_LEN>().to_vec();
        let key = stretch(cost, &salt, secret)?;
        let wrapped = seal_with(&key, &binding(kind, realm), &**kek.bytes);
        Ok(Self { kind, cost, salt, proof: kek.proof.to_vec(), wrapped })
    }

    /// `Error::PinIncorrect` if the PIN (or file) is not the one.
    pub fn open(&self, realm: &str, secret: &[u8]) -> Result<Kek> {
        if self.cost.is_none() != (self.kind == SlotKind::File) || self.salt.len() != SALT_LEN {
            return Err(Error::corrupt(format!("the slot {}", self.kind.name())));
        }
        let key = stretch(self.cost, &self.salt, secret)?;
        let opened = unseal_with(&key, &binding(self.kind, realm), &self.wrapped).ok_or(Error::PinIncorrect)?;
        let bytes = <&[u8; KEY_LEN]>::try_from(opened.as_slice()).map_err(|_| Error::PinIncorrect)?;
        Ok(Kek::from_bytes(bytes))
    }

    /// What [`Kek::proof`] of the key within is. Not secret, and not authenticated before the slot has been opened.
    pub fn proof(&self) -> &[u8] {
        &self.proof
    }
}

/// What a wrapped key is bound to: it does not open in another slot or another token.
fn binding(kind: SlotKind, realm: &str) -> Vec<u8> {
    [b"alikms slot 1\0", kind.name().as_bytes(), b"\0", realm.as_bytes()].concat()
}

/// The wrapping key of a PIN (with a cost) or of an unlock file's secret (without).
fn stretch(cost: Option<Cost>, salt: &[u8], secret: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>> {
    let Some(cost) = cost else { return Ok(derive(salt, secret, &[b"alikms file slot 1"])) };
    let fault = |_| Error::corrupt("the cost of a PIN slot");
    if cost.memory_kib > MAX_COST.memory_kib || cost.passes > MAX_COST.passes {
        return Err(fault(argon2::Error::MemoryTooMuch));
    }
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(KEY_LEN)).map_err(fault)?;
    let count = params.block_count();
    // Our own memory: running short of it is an error to the caller rather than the end of the host, and it is wiped.
    let mut blocks = Vec::new();
    if blocks.try_reserve_exact(count).is_err() {
        return Err(Error::Internal(format!(
            "checking a PIN takes {} KiB of memory, more than there is",
            cost.memory_kib
        )));
    }
    blocks.resize_with(count, Block::default);
    let mut key = Zeroizing::new([0; KEY_LEN]);
    let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        secret,
        salt,
        &mut key[..],
        blocks.as_mut_slice(),
    );
    blocks.iter_mut().for_each(|block| block.as_mut().zeroize());
    done.map_err(fault)?;
    Ok(key)
}

/// Reads `unlock.key` (made by [`create_unlock_file`]), refusing one that others than owner and group may read.
/// Every fault is an `Error::Config` that names the file.
pub fn read_unlock_file(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(|error| fault(path, format!("cannot be read: {error}")))?;
    let found = file.metadata().map_err(|error| fault(path, error.to_string()))?;
    if !found.is_file() {
        return Err(fault(path, "is not a file".into()));
    }
    if found.mode() & 0o007 != 0 {
        let mode = found.mode() & 0o7777;
        return Err(fault(
            path,
            format!(
                "has mode {mode:04o}, so everybody may use it: chmod 0640 it, and make new unlock slots if somebody did"
            ),
        ));
    }
    // One line of 44 characters; room for a little more, so that nothing is ever moved.
    let mut text = Zeroizing::new(Vec::with_capacity(128));
    file.take(100).read_to_end(&mut text).map_err(|error| fault(path, format!("cannot be read: {error}")))?;
    let mut secret = Bytes::new(vec![0; KEY_LEN + 1]);
    match STANDARD.decode_slice(text.trim_ascii(), &mut secret) {
        Ok(KEY_LEN) => secret.truncate(KEY_LEN),
        _ => {
            return Err(fault(
                path,
                format!("is not an unlock key, {KEY_LEN} bytes in Base64: restore it from a backup"),
            ));
        }
    }
    Ok(secret)
}

/// Makes it (0640 whatever the umask, 32 random bytes as one line of Base64) unless it exists. True if it was made.
pub fn create_unlock_file(path: &Path) -> Result<bool> {
    create_unlock_file_for(path, None)
}

/// As [`create_unlock_file`], readable by this group.
pub fn create_unlock_file_for(path: &Path, group: Option<u32>) -> Result<bool> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let secret: Zeroizing<[u8; KEY_LEN]> = random();
    let mut line = Zeroizing::new(vec![0; 48]);
    let written = STANDARD.encode_slice(&secret[..], &mut line).map_err(|error| Error::Internal(error.to_string()))?;
    line.truncate(written);
    line.push(b'\n');
    place(directory, path, &line, group).map_err(|error| fault(path, format!("cannot be made: {error}")))
}

/// Writes a file under another name and links it to its own, which fails if there is one: nobody ever sees a half of it.
fn place(directory: &Path, path: &Path, content: &[u8], group: Option<u32>) -> io::Result<bool> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(false);
    }
    fs::create_dir_all(directory)?;
    let name = random::<8>().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let draft = directory.join(format!(".unlock-{name}"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let outcome = (|| {
        file.write_all(content)?;
        if group.is_some() {
            fchown(&file, None, group)?;
        }
        file.set_permissions(fs::Permissions::from_mode(0o640))?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            other => other.map(|()| true),
        }
    })();
    fs::remove_file(&draft)?;
    File::open(directory)?.sync_all()?;
    outcome
}

fn fault(path: &Path, reason: String) -> Error {
    Error::Config { place: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };

    #[test]
    fn a_pin_opens_its_own_slot_in_its_own_token_only() {
        let kek = Kek::generate();
        let slot = Slot::with_pin_cost(SlotKind::UserPin, "realm", b"1234", &kek, CHEAP).unwrap();
        let stored: Slot = serde_json::from_str(&serde_json::to_string(&slot).unwrap()).unwrap();
        assert_eq!(stored.open("realm", b"1234").unwrap().bytes, kek.bytes);
        assert_eq!(stored.proof(), kek.proof());
        assert!(matches!(stored.open("realm", b"1235"), Err(Error::PinIncorrect)));
        assert!(matches!(stored.open("realm", b""), Err(Error::PinIncorrect)));
        assert!(matches!(stored.open("other", b"1234"), Err(Error::PinIncorrect)));
        let moved = Slot { kind: SlotKind::SoPin, ..slot.clone() };
        assert!(matches!(moved.open("realm", b"1234"), Err(Error::PinIncorrect)));
        let absurd = Slot { cost: Some(Cost { memory_kib: u32::MAX, passes: 1 }), ..slot };
        assert!(matches!(absurd.open("realm", b"1234"), Err(Error::Store(_))));
        for pin in [&b"123"[..], &[b'x'; 256]] {
            let refused = Slot::with_pin_cost(SlotKind::UserPin, "realm", pin, &kek, CHEAP);
            assert!(matches!(refused, Err(Error::PinInvalid(_))));
        }
    }

    #[test]
    fn an_unlock_file_is_made_once_and_refused_when_everybody_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("unlock.key");
        assert!(create_unlock_file(&path).unwrap());
        let secret = read_unlock_file(&path).unwrap();
        assert!(!create_unlock_file(&path).unwrap());
        assert_eq!(read_unlock_file(&path).unwrap(), secret);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

        let kek = Kek::generate();
        let slot = Slot::with_file("realm", &secret, &kek).unwrap();
        assert_eq!(slot.open("realm", &secret).unwrap().bytes, kek.bytes);
        assert!(matches!(slot.open("realm", &[0; 32]), Err(Error::PinIncorrect)));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let Err(Error::Config { place, reason }) = read_unlock_file(&path) else { panic!("was read") };
        assert!(place.ends_with("unlock.key") && reason.contains("0644"), "{place}: {reason}");
        fs::write(&path, "c2hvcnQ=\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read_unlock_file(&path), Err(Error::Config { .. })));
    }
}
