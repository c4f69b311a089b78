//! The files in which certificates and private keys travel: PEM and DER, PKCS#8, PKCS#1 and SEC 1, PKCS#12.
//!
//! Read and written through `pkcs8` and `p12-keystore`, which bound the work that a file can ask for before its
//! passphrase proves right (a million iterations, 1 GiB).

use der::Decode;
use der::pem::LineEnding;
use p12_keystore::error::Error as Pkcs12Error;
use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12Archive, PrivateKey, PrivateKeyChain};
use pkcs8::pkcs5::pbes2;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};

use crate::crypto::ec::EcKey;
use crate::crypto::random;
use crate::crypto::rsa::RsaKey;
use crate::error::{Error, Result};
use crate::kms::x509::{Leaf, check_count};
use crate::model::Bytes;
use crate::model::public::PublicKey;

/// PBKDF2 of what is written: some 50 ms.
const ITERATIONS: u32 = 100_000;
/// A text that is larger holds no private key.
const LARGEST: usize = 256 * 1024;
/// A PKCS#12 file that is larger holds more than a key, its certificate and ten above it.
const LARGEST_PKCS12: usize = 64 * 1024;
/// A PKCS#12 file has one encrypted part for its certificates and one for its key; each may ask for a million iterations.
const MOST_ENCRYPTED: usize = 4;
/// How the identifiers of password-based encryption begin: PBES1 and PBES2, and those of PKCS#12.
const ENCRYPTIONS: [&[u8]; 2] =
    [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01]];
/// PBKDF2 stands within PBES2, and is no encryption of its own.
const PBKDF2: u8 = 0x0c;
/// The longest passphrase that is written with, in bytes.
const LONGEST_PASSPHRASE: usize = 1024;

/// A private key that came from elsewhere.
pub struct Private {
    /// PKCS#8 DER.
    pub der: Bytes,
    pub public: PublicKey,
}

impl Private {
    /// From PKCS#8, PKCS#1 or SEC 1 DER.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        if let Ok(key) = EcKey::from_der(der) {
            let public = PublicKey::Ec { curve: key.curve(), point: key.point() };
            return Ok(Self { der: key.to_der()?, public });
        }
        let key = RsaKey::from_der(der)?;
        key.check()?;
        let (modulus, exponent) = key.public();
        Ok(Self { der: key.to_der()?, public: PublicKey::Rsa { modulus, exponent } })
    }

    /// From PEM: `PRIVATE KEY`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`, the latter also behind `EC PARAMETERS`. One that
    /// is
    /// protected by a password needs `passphrase`, and can then only be PKCS#8. The error is a reason to be told.
    pub fn from_pem(text: &str, passphrase: Option<&str>) -> std::result::Result<Self, &'static str> {
        const NO_KEY: &str = "the key is not a private key in PEM";
        let text = text.trim();
        let text = match text.strip_prefix("-----BEGIN EC PARAMETERS-----") {
            Some(rest) => rest.split_once("-----END EC PARAMETERS-----").ok_or(NO_KEY)?.1.trim_start(),
            None => text,
        };
        if text.len() > LARGEST {
            return Err(NO_KEY);
        }
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err("the key is protected by a password in OpenSSL's old format: openssl pkey takes it away");
        }
        let (label, der) = der::pem::decode_vec(text.as_bytes()).map_err(|_| NO_KEY)?;
        let der = Bytes::new(der);
        match (label, passphrase) {
            ("PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY", _) => Self::from_der(&der).map_err(|_| NO_KEY),
            ("ENCRYPTED PRIVATE KEY", None) => Err("the key is protected by a password: openssl pkey takes it away"),
            ("ENCRYPTED PRIVATE KEY", Some(passphrase)) => Self::from_encrypted(&der, passphrase),
            _ => Err(NO_KEY),
        }
    }

    /// From encrypted PKCS#8 DER.
    pub fn from_encrypted(der: &[u8], passphrase: &str) -> std::result::Result<Self, &'static str> {
        let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|_| "not an encrypted PKCS#8 key")?;
        if !is_bounded(&info.encryption_algorithm) {
            return Err("the encryption of the key is unknown, or asks for too much work");
        }
        let plain =
            info.decrypt(passphrase).map_err(|_| "the passphrase of the key is wrong, or its encryption unknown")?;
        Self::from_der(plain.as_bytes()).map_err(|_| "not a private key that is known here")
    }

    /// PKCS#8 PEM without protection.
    pub fn to_pem(&self) -> Result<Bytes> {
        pem("PRIVATE KEY", &self.der)
    }

    /// PKCS#8 PEM under a passphrase: PBES2, PBKDF2 with HMAC-SHA-256, AES-256-CBC.
    pub fn to_encrypted_pem(&self, passphrase: &str) -> Result<Bytes> {
        check_passphrase(passphrase)?;
        let fault = |error: pkcs8::Error| Error::Internal(format!("PKCS#8: {error}"));
        let info =
            PrivateKeyInfoRef::from_der(&self.der).map_err(|error| Error::Internal(format!("PKCS#8: {error}")))?;
        let (salt, iv) = (random::bytes::<16>(), random::bytes::<16>());
        let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ITERATIONS, &salt, iv)
            .map_err(|error| Error::Internal(format!("PKCS#8: {error}")))?;
        let sealed = info.encrypt_with_params(parameters, passphrase).map_err(fault)?;
        pem("ENCRYPTED PRIVATE KEY", sealed.as_bytes())
    }
}

/// Does it ask for at most a million iterations, or 1 GiB?
fn is_bounded(scheme: &pkcs8::pkcs5::EncryptionScheme) -> bool {
    let pkcs8::pkcs5::EncryptionScheme::Pbes2(parameters) = scheme else { return false };
    match &parameters.kdf {
        pbes2::Kdf::Pbkdf2(kdf) => kdf.iteration_count <= 1_000_000,
        pbes2::Kdf::Scrypt(kdf) => {
            let memory = kdf.cost_parameter.checked_mul(128).and_then(|m| m.checked_mul(u64::from(kdf.block_size)));
            memory.is_some_and(|memory| memory <= 1 << 30) && kdf.parallelization <= 16
        }
        _ => false,
    }
}

fn pem(label: &str, der: &[u8]) -> Result<Bytes> {
    let text = der::pem::encode_string(label, LineEnding::LF, der);
    text.map(|text| Bytes::new(text.into_bytes())).map_err(|error| Error::Internal(format!("PEM: {error}")))
}

/// What programs read alike: 1 to 1024 printable ASCII characters.
fn check_passphrase(passphrase: &str) -> Result<()> {
    let printable = passphrase.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    match printable && (1..=LONGEST_PASSPHRASE).contains(&passphrase.len()) {
        true => Ok(()),
        false => Err(Error::invalid("Passphrase", "1 to 1024 printable ASCII characters")),
    }
}

/// A PKCS#12 file with one private key: the key, its certificate and those above it, as far as they are there.
pub fn read_pkcs12(blob: &[u8], passphrase: &str) -> Result<(Private, Leaf, Vec<Leaf>)> {
    let fault = |reason: &str| Error::invalid("PKCS12Blob", reason);
    if blob.len() > LARGEST_PKCS12 {
        return Err(fault("larger than 64 KiB"));
    }
    if encrypted_parts(blob) > MOST_ENCRYPTED {
        return Err(fault("it has more than 4 encrypted parts"));
    }
    let archive = Pkcs12Archive::from_pkcs12(blob, passphrase).map_err(|error| match error {
        Pkcs12Error::MacError(_) => Error::invalid("Passphrase", "it does not open this PKCS#12 file"),
        error => fault(&format!("not a PKCS#12 file that can be read: {error}")),
    })?;
    let [bag] = &archive.keys[..] else {
        return Err(fault(&format!("one private key is expected, there are {}", archive.keys.len())));
    };
    let key =
        Private::from_der(bag.key.as_der()).map_err(|_| fault("its private key is of no kind that is known here"))?;
    let read = |bag: &p12_keystore::CertificateBag| Leaf::from_der(bag.cert.as_der());
    let certificates: Vec<Leaf> = archive.certs.iter().map(read).collect::<Result<_>>()?;
    let (leaf, chain) = in_order(&key.public, certificates)?;
    Ok((key, leaf, chain))
}

/// How often a password would be worked with, as far as that can be seen from outside.
fn encrypted_parts(blob: &[u8]) -> usize {
    let begins =
        |at: usize| ENCRYPTIONS.iter().find(|oid| blob[at..].starts_with(oid)).map(|oid| blob.get(at + oid.len()));
    (0..blob.len()).filter_map(begins).filter(|kind| *kind != Some(&PBKDF2)).count()
}

/// The certificate of a public key, and those above it in order; what belongs to neither is left out.
pub fn in_order(public: &PublicKey, mut certificates: Vec<Leaf>) -> Result<(Leaf, Vec<Leaf>)> {
    check_count(certificates.len().saturating_sub(1))?;
    let own = certificates.iter().position(|leaf| leaf.public().is_ok_and(|found| found == *public));
    let own = own.ok_or_else(|| Error::invalid("Certificate", "Certificate and private key do not match"))?;
    let leaf = certificates.swap_remove(own);
    let mut chain: Vec<Leaf> = Vec::new();
    loop {
        let below = chain.last().unwrap_or(&leaf);
        if below.issuer() == below.subject() {
            break;
        }
        let above = certificates.iter().position(|issuer| below.is_signed_by(issuer).is_ok());
        let Some(above) = above else { break };
        chain.push(certificates.swap_remove(above));
    }
    Ok((leaf, chain))
}

/// A PKCS#12 file with one private key and its chain, leaf first: PBES2 with AES-256-CBC, HMAC-SHA-256.
pub fn write_pkcs12(key: &Private, chain: &[&[u8]], name: &str, passphrase: &str) -> Result<Bytes> {
    check_passphrase(passphrase)?;
    let fault = |error: Pkcs12Error| Error::Internal(format!("PKCS#12: {error}"));
    let private = PrivateKey::from_der(&key.der).map_err(fault)?;
    let certificates: Vec<_> =
        chain.iter().map(|der| p12_keystore::Certificate::from_der(der)).collect::<Result<_, _>>().map_err(fault)?;
    let id = crate::crypto::digest::hash(crate::model::hash::Hash::Sha1, chain.first().copied().unwrap_or_default());
    let mut store = KeyStore::new();
    store.add_entry(name, KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(id, private, certificates)));
    let writer = store.writer(passphrase).encryption_iterations(ITERATIONS).mac_iterations(ITERATIONS);
    Ok(Bytes::new(writer.write().map_err(fault)?))
}
