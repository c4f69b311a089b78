//! `alikms backup` and `alikms restore`: the whole store with its slots, at one moment, in one file that tells whether
//! somebody changed it.
//!
//! The file: [`MAGIC`], lines of a word and what belongs to it, an empty line, the database. The first lines describe the
//! database; a `tag` for each token authenticates them under its key-encryption key.

use std::path::PathBuf;

use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::Kms;
use super::realm::Service;
use crate::config::Config;
use crate::crypto::digest;
use crate::error::{Error, Result};
use crate::model::hash::Hash;
use crate::model::key::Material;
use crate::model::names::hex_bytes::{from_hex, to_hex};
use crate::protection::hsm::Group;
use crate::store::{RealmRow, Store};

const MAGIC: &str = "alikms backup 1\n";

/// A version of a key that is in a device: a backup has its record and not its material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    pub key: Uuid,
    pub version: Uuid,
    pub device: String,
}

/// What a backup says of itself, and the database.
struct Backup<'a> {
    /// The lines that the tags authenticate.
    head: &'a str,
    tags: Vec<(Uuid, Vec<u8>)>,
    image: &'a [u8],
}

impl Service {
    /// The bytes of a backup, and what is not in it. `unlock` opens a token; one that it cannot open is in the backup
    /// but does not vouch for it. At least one must.
    pub fn backup(&self, unlock: &dyn Fn(&Kms) -> Result<()>) -> Result<(Vec<u8>, Vec<Elsewhere>)> {
        let first = self.token(None)?;
        let image = first.store.image()?;
        let mut head = format!("made {}\nsha256 {}\n", first.now(), to_hex(&digest::hash(Hash::Sha256, &image)));
        let (mut open, mut elsewhere, mut refusal) = (Vec::new(), Vec::new(), None);
        for token in self.tokens() {
            let Some(row) = token.row()? else { continue };
            head += &format!("token {} {}\n", row.uuid, row.label);
            match unlock(token) {
                Ok(()) => {
                    elsewhere.extend(token.elsewhere()?);
                    open.push((row, token));
                }
                Err(error) => refusal = Some(error),
            }
        }
        if let (true, Some(error)) = (open.is_empty(), refusal) {
            return Err(error);
        }
        for Elsewhere { key, version, device } in &elsewhere {
            head += &format!("elsewhere {key} {version} {device}\n");
        }
        let mut tags = String::new();
        for (row, token) in open {
            tags += &format!("tag {} {}\n", row.uuid, to_hex(&token.vouch(&row, &head)?));
        }
        Ok(([MAGIC, &head, &tags, "\n"].concat().into_bytes().into_iter().chain(image).collect(), elsewhere))
    }

    /// Makes the store of this configuration of a backup, once it is proven by a token that `unlock` opens to be as it was
    /// made. Refuses where there is a store. Answers what is not in it.
    pub fn restore(
        config: &Config,
        backup: &[u8],
        group: Option<u32>,
        unlock: &dyn Fn(&Kms) -> Result<()>,
    ) -> Result<Vec<Elsewhere>> {
        let taken = || Error::Config {
            place: config.store.display().to_string(),
            reason: "there is a store already, which is left as it is: restore to another place".to_owned(),
        };
        if std::fs::symlink_metadata(&config.store).is_ok() {
            return Err(taken());
        }
        let backup = Backup::read(backup)?;
        // The slots that open a token are in the database: it is looked at in a place of its own before it is anybody's.
        let trial = Trial::new(config);
        Store::restore(&trial.0.join("kms.db"), None, backup.image)?;
        let service = Self::new(Config { store: trial.0.join("kms.db"), ..config.clone() });
        let (mut proven, mut refusal, mut elsewhere) = (false, None, Vec::new());
        for token in service.tokens() {
            let Some(row) = token.row()? else { continue };
            let Some((_, tag)) = backup.tags.iter().find(|(realm, _)| *realm == row.uuid) else { continue };
            match unlock(token) {
                Ok(()) if bool::from(token.vouch(&row, backup.head)?.ct_eq(tag)) => {
                    proven = true;
                    elsewhere.extend(token.elsewhere()?);
                }
                Ok(()) => return Err(changed("its tag is wrong")),
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            _ if proven => {}
            Some(error) => return Err(error),
            None => return Err(changed("no token of this configuration vouches for it")),
        }
        drop(service);
        drop(trial);
        match Store::restore(&config.store, group, backup.image)? {
            true => Ok(elsewhere),
            false => Err(taken()),
        }
    }
}

impl Kms {
    fn vouch(&self, row: &RealmRow, head: &str) -> Result<[u8; 32]> {
        Ok(self.open()?.realm.kek.tag(&[b"backup", row.uuid.as_bytes(), head.as_bytes()]))
    }

    fn elsewhere(&self) -> Result<Vec<Elsewhere>> {
        let mut all = Vec::new();
        self.each_key(|key| {
            let versions = self.store.read(&self.open()?.realm, |r| r.versions(key.id))?;
            all.extend(versions.into_iter().filter_map(|version| match version.material {
                Some(Material::Device { device, .. }) => Some(Elsewhere { key: key.id, version: version.id, device }),
                Some(Material::Copies { .. }) => {
                    let device = self.device.as_ref().map_or_else(String::new, Group::name);
                    Some(Elsewhere { key: key.id, version: version.id, device })
                }
                Some(Material::Sealed(_)) | None => None,
            }));
            Ok(())
        })?;
        Ok(all)
    }
}

impl<'a> Backup<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let rest = bytes.strip_prefix(MAGIC.as_bytes()).ok_or_else(|| changed("it is no backup of alikms"))?;
        let end = rest.windows(2).position(|pair| pair == b"\n\n").ok_or_else(|| changed("it is cut short"))?;
        let (text, image) = rest.split_at(end + 1);
        let text = std::str::from_utf8(text).map_err(|_| changed("its head is no text"))?;
        let (head, tags) = text.split_at(text.find("\ntag ").map_or(text.len(), |at| at + 1));
        let image = image.get(1..).unwrap_or_default();
        let tags = tags.lines().map(|line| {
            let mut words = line.strip_prefix("tag ")?.split(' ');
            Some((words.next()?.parse().ok()?, from_hex(words.next()?)?))
        });
        let tags = tags.collect::<Option<Vec<_>>>().ok_or_else(|| changed("its tags cannot be read"))?;
        let told = head.lines().find_map(|line| line.strip_prefix("sha256 ")).and_then(from_hex);
        if told != Some(digest::hash(Hash::Sha256, image)) {
            return Err(changed("the database in it is not the one that it describes"));
        }
        Ok(Self { head, tags, image })
    }
}

fn changed(how: &str) -> Error {
    Error::corrupt(format!("the backup is damaged or tampered with: {how}"))
}

/// A directory beside the store's, for one look at a backup.
struct Trial(PathBuf);

impl Trial {
    fn new(config: &Config) -> Self {
        let directory = config.store.parent().map(PathBuf::from).unwrap_or_default();
        let place = directory.parent().map_or(directory.clone(), PathBuf::from);
        Self(place.join(format!(".alikms-restore-{}", Uuid::new_v4())))
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
