//! Data keys: GenerateDataKey, -WithoutPlaintext, GenerateAndExportDataKey, ExportDataKey, and ReEncrypt.

use crate::crypto::random;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::asymmetric::Done;
use crate::model::Bytes;
use crate::model::algorithm::Algorithm;
use crate::model::blob::Blob;
use crate::model::caller::Caller;
use crate::model::context::Context;
use crate::model::public::PublicKey;
use crate::protection::public::Prepared;
use uuid::Uuid;

/// Bytes of a data key.
const LENGTH: std::ops::RangeInclusive<i64> = 1..=1024;

/// What ReEncrypt decrypts.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A blob names its key and version itself; what is given must be the same.
    Blob { key: Option<&'a str>, version: Option<&'a str> },
    /// What a public key encrypted.
    Public { key: &'a str, version: &'a str, algorithm: &'a str },
}

/// To whom a data key is exported: their public key and how it is wrapped.
#[derive(Debug, Clone)]
pub struct Recipient<'a> {
    /// `RSA_2048`.
    pub key_spec: &'a str,
    /// `RSAES_OAEP_SHA_256` or `RSAES_OAEP_SHA_1`.
    pub algorithm: &'a str,
    /// DER SubjectPublicKeyInfo.
    pub public_key: &'a [u8],
}

impl Recipient<'_> {
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>> {
        if self.key_spec != "RSA_2048" {
            return Err(Error::invalid("WrappingKeySpec", "RSA_2048"));
        }
        let cipher = Algorithm::by_name(self.algorithm).and_then(Algorithm::sealing);
        let cipher =
            cipher.ok_or_else(|| Error::invalid("WrappingAlgorithm", "RSAES_OAEP_SHA_256 or RSAES_OAEP_SHA_1"))?;
        let public = PublicKey::from_spki(self.public_key)
            .map_err(|_| Error::invalid("PublicKeyBlob", "not the Base64 of a DER SubjectPublicKeyInfo"))?;
        if !matches!(public, PublicKey::Rsa { .. }) || public.bits() != 2048 {
            return Err(Error::invalid("PublicKeyBlob", "not an RSA key of 2048 bits"));
        }
        Prepared::new(&public)?.encrypt(&cipher, key).map_err(|error| match error {
            Error::DataLength => Error::invalid("CiphertextBlob", "the data key is too long for this wrapping"),
            other => other,
        })
    }
}

/// `KeySpec` and `NumberOfBytes` together: the number wins; neither is AES_256.
pub fn data_key_length(spec: Option<&str>, bytes: Option<i64>) -> Result<usize> {
    let named = match spec {
        None | Some("AES_256") => 32,
        Some("AES_128") => 16,
        Some(_) => return Err(Error::invalid("KeySpec", "AES_256 or AES_128")),
    };
    match bytes {
        None => Ok(named),
        Some(bytes) if LENGTH.contains(&bytes) => Ok(bytes as usize),
        Some(_) => Err(Error::invalid("NumberOfBytes", "1 to 1024")),
    }
}

impl Kms {
    /// A random key of `length` bytes: in plain, and as a ciphertext blob under the primary version.
    pub fn generate_data_key(
        &self,
        caller: &Caller,
        action: &'static str,
        key: &str,
        length: usize,
        context: &Context,
    ) -> Result<(Done, Bytes, Vec<u8>)> {
        let mut plain = Bytes::new(vec![0; length]);
        random::fill(&mut plain);
        let (done, blob) = self.seal_under(caller, action, key, &plain, context)?;
        Ok((done, plain, blob))
    }

    /// The same wrapped for somebody else instead of in plain.
    pub fn generate_and_export_data_key(
        &self,
        caller: &Caller,
        key: &str,
        length: usize,
        context: &Context,
        to: &Recipient<'_>,
    ) -> Result<(Done, Vec<u8>, Vec<u8>)> {
        let (done, plain, blob) = self.generate_data_key(caller, "GenerateAndExportDataKey", key, length, context)?;
        Ok((done, blob, to.wrap(&plain)?))
    }

    /// A data key that was encrypted under a key of ours, wrapped for somebody else.
    pub fn export_data_key(
        &self,
        caller: &Caller,
        blob: &[u8],
        context: &Context,
        to: &Recipient<'_>,
    ) -> Result<(Done, Vec<u8>)> {
        let (done, plain) = self.open_blob(caller, "ExportDataKey", blob, context)?;
        Ok((done, to.wrap(&plain)?))
    }

    /// From one key (or an old version) to the primary version of another; the plaintext stays inside.
    pub fn re_encrypt(
        &self,
        caller: &Caller,
        ciphertext: &[u8],
        source: Source<'_>,
        source_context: &Context,
        destination: &str,
        destination_context: &Context,
    ) -> Result<(Done, Vec<u8>)> {
        const ACTION: &str = "ReEncrypt";
        let plain = match source {
            Source::Blob { key, version } => {
                self.check_source(caller, ACTION, ciphertext, key, version)?;
                self.open_blob(caller, ACTION, ciphertext, source_context)?.1
            }
            Source::Public { key, version, algorithm } => {
                self.asymmetric_decrypt(caller, key, version, algorithm, ciphertext)?.1
            }
        };
        self.seal_under(caller, ACTION, destination, &plain, destination_context)
    }

    /// A blob must be of the key and the version that the caller names, if it names them; else it is like any blob that
    /// does not decrypt.
    fn check_source(
        &self,
        caller: &Caller,
        action: &'static str,
        blob: &[u8],
        key: Option<&str>,
        version: Option<&str>,
    ) -> Result<()> {
        let of = Blob::from_bytes(blob)?.version;
        if version.is_some_and(|version| Uuid::try_parse(version) != Ok(of)) {
            return Err(Error::Ciphertext);
        }
        let Some(key) = key else { return Ok(()) };
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, action, &key)?;
            let is_its_own = r.version(of)?.is_some_and(|version| version.key == key.id);
            if is_its_own { Ok(()) } else { Err(Error::Ciphertext) }
        })
    }
}
