//! The keys of a walk over the flags, and what performing a flag is.

use cryptoki_sys::*;

use super::{DATA, ENVELOPE, SECRET, SM2_PAIR_GEN, SM4_CBC, SM4_CBC_DATA, SM4_ECB_DATA, SM4_GEN, usual};
use crate::call;
use crate::support::{
    Attr, Client, ED25519, Installation, LEVEL, Mech, P256, P521, X25519, b, number, s, two_calls, u, v,
};

/// The public and the private half, or a secret key twice.
pub type Pair = (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE);

pub struct Keys {
    pub rsa: Pair,
    pub ec: Pair,
    /// Whose secrets CKM_ECDH1_DERIVE agrees on: X25519 is the smallest.
    agreeing: Pair,
    edwards: Pair,
    pub aes: Pair,
    pub generic: Pair,
    sm2: Pair,
    sm4: Pair,
    envelope: Pair,
}

impl Keys {
    fn of(&self, ours: CK_MECHANISM_TYPE) -> Pair {
        match ours {
            CKM_ECDH1_DERIVE => self.agreeing,
            CKM_ECDSA..=CKM_ECDSA_SHA512 | CKM_ECDSA_SHA3_224..=CKM_ECDSA_SHA3_512 | CKM_ECDH1_COFACTOR_DERIVE => {
                self.ec
            }
            CKM_EDDSA => self.edwards,
            CKM_AES_ECB_ENCRYPT_DATA | CKM_AES_CBC_ENCRYPT_DATA => self.aes,
            CKM_AES_KEY_GEN..=CKM_AES_CMAC_GENERAL | CKM_AES_KEY_WRAP..=CKM_AES_KEY_WRAP_KWP => self.aes,
            CKM_RSA_PKCS_KEY_PAIR_GEN..=CKM_SHA1_RSA_PKCS_PSS | CKM_SHA256_RSA_PKCS..=CKM_SHA512_RSA_PKCS_PSS => {
                self.rsa
            }
            CKM_SHA224_RSA_PKCS | CKM_SHA224_RSA_PKCS_PSS | CKM_RSA_AES_KEY_WRAP => self.rsa,
            CKM_SHA3_256_RSA_PKCS..=CKM_SHA3_224_RSA_PKCS_PSS => self.rsa,
            SM2_PAIR_GEN..=0xC14C_4908 => self.sm2,
            SM4_GEN..=SM4_CBC_DATA => self.sm4,
            ENVELOPE => self.envelope,
            _ => self.generic,
        }
    }
}

/// Which keys a walk is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Smallest,
    Largest,
    Token,
}

pub struct Bed {
    _home: Installation,
    pub c: Client,
    place: Place,
    pub keys: Keys,
    /// Goes with the pairs that agree: of the same curves, in the session.
    peers: (Pair, Pair),
    /// Numbers of other vendors, and ours.
    pub aliases: Vec<(CK_MECHANISM_TYPE, CK_MECHANISM_TYPE)>,
}

fn on(kinds: &[CK_ATTRIBUTE_TYPE]) -> Vec<Attr> {
    kinds.iter().map(|kind| b(*kind, true)).collect()
}

/// A pair that took openssl minutes: unwrapped as PKCS#8, and the public half made of what the private half tells.
fn rsa_8192(c: &Client) -> Pair {
    let pkcs8 = include_bytes!("rsa8192.der");
    let wrapping = c.aes(32, &on(&[CKA_UNWRAP]));
    let sealed = c.encrypt(CKM_AES_KEY_WRAP_KWP, wrapping, pkcs8).unwrap();
    let template = [u(CKA_CLASS, CKO_PRIVATE_KEY), u(CKA_KEY_TYPE, CKK_RSA)];
    let uses = on(&[CKA_SIGN, CKA_DECRYPT, CKA_UNWRAP]);
    let private = c.unwrap(CKM_AES_KEY_WRAP_KWP, wrapping, &sealed, &[&template[..], &uses].concat()).unwrap();
    let number = |kind| v(kind, c.get(private, kind).unwrap());
    let numbers = [number(CKA_MODULUS), number(CKA_PUBLIC_EXPONENT)];
    assert_eq!(numbers[0].1.len(), 1024);
    let template = [u(CKA_CLASS, CKO_PUBLIC_KEY), u(CKA_KEY_TYPE, CKK_RSA)];
    let uses = on(&[CKA_VERIFY, CKA_ENCRYPT, CKA_WRAP]);
    (c.create(&[&template[..], &numbers, &uses].concat()).unwrap(), private)
}

const CRYPTS: &[CK_ATTRIBUTE_TYPE] = &[CKA_ENCRYPT, CKA_DECRYPT];

impl Bed {
    pub fn new(home: Installation, place: Place) -> Self {
        let envelope = (place == Place::Token).then(|| {
            home.create_key("envelope", &[]);
            "envelope"
        });
        let c = home.client();
        let token = place == Place::Token;
        let own = |kinds: &[CK_ATTRIBUTE_TYPE]| [on(kinds), vec![b(CKA_TOKEN, token)]].concat();
        let (curve, bits, bytes, secret) = match place {
            Place::Smallest => (P256, 1024, 16, 1),
            Place::Largest => (P521, 4096, 32, 512),
            // So long because devices have a least length for each HMAC.
            Place::Token => (P256, 2048, 32, 64),
        };
        let pair = |kind, public: &[Attr], outer: &[CK_ATTRIBUTE_TYPE], inner: &[CK_ATTRIBUTE_TYPE]| {
            c.generate_pair(kind, &[public, &own(outer)].concat(), &own(inner)).unwrap()
        };
        let twice = |key| (key, key);
        let sm = |kind, level: &str, template: &[Attr]| {
            // No device here has SM4.
            let level = if token { vec![s(LEVEL, level)] } else { vec![] };
            c.generate(kind, &[template, &level].concat()).unwrap()
        };
        let software = if token { vec![s(LEVEL, "SOFTWARE")] } else { vec![] };
        let x25519 = || c.generate_pair(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, X25519)], &[]).unwrap();
        let ec = pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, curve)], &[], &[CKA_SIGN, CKA_DERIVE]);
        let keys = Keys {
            rsa: match place {
                Place::Largest => rsa_8192(&c),
                _ => pair(
                    CKM_RSA_PKCS_KEY_PAIR_GEN,
                    &[u(CKA_MODULUS_BITS, bits)],
                    &[CKA_VERIFY, CKA_ENCRYPT, CKA_WRAP],
                    &[CKA_SIGN, CKA_DECRYPT, CKA_UNWRAP],
                ),
            },
            ec,
            agreeing: if place == Place::Smallest { x25519() } else { ec },
            edwards: {
                let template = [&[v(CKA_EC_PARAMS, ED25519)], &own(&[])[..], &software].concat();
                c.generate_pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, &template, &[&own(&[])[..], &software].concat()).unwrap()
            },
            aes: twice(c.aes(bytes, &own(&[CKA_WRAP, CKA_UNWRAP, CKA_DERIVE]))),
            generic: twice(match place {
                Place::Token => c
                    .generate(
                        CKM_GENERIC_SECRET_KEY_GEN,
                        &[&[u(CKA_VALUE_LEN, secret as CK_ULONG)], &own(&[CKA_SIGN, CKA_VERIFY, CKA_DERIVE])[..]]
                            .concat(),
                    )
                    .unwrap(),
                _ => {
                    let key = c.secret(CKK_GENERIC_SECRET, &vec![9; secret]);
                    c.set(key, &on(&[CKA_DERIVE])).unwrap();
                    key
                }
            }),
            sm2: {
                let outer = [&own(&[CKA_VERIFY, CKA_ENCRYPT])[..], &software].concat();
                c.generate_pair(SM2_PAIR_GEN, &outer, &[&own(&[CKA_SIGN, CKA_DECRYPT])[..], &software].concat())
                    .unwrap()
            },
            sm4: twice(sm(SM4_GEN, "SOFTWARE", &[&own(CRYPTS)[..], &on(&[CKA_DERIVE])].concat())),
            // Without one, a key that seals nothing.
            envelope: twice(envelope.map_or_else(|| c.aes(32, &[]), |name| c.one(CKO_SECRET_KEY, name))),
        };
        let peers = (c.ec_pair(curve, &[b(CKA_DERIVE, true)]).unwrap(), x25519());
        Self { _home: home, c, place, keys, peers, aliases: Vec::new() }
    }

    fn ours(&self, kind: CK_MECHANISM_TYPE) -> CK_MECHANISM_TYPE {
        self.aliases.iter().find(|(theirs, _)| *theirs == kind).map_or(kind, |(_, ours)| *ours)
    }

    pub fn kinds(&self) -> Vec<(CK_MECHANISM_TYPE, CK_MECHANISM_INFO)> {
        self.c.m.mechanisms().into_iter().map(|kind| (kind, self.c.m.mechanism_info(kind).unwrap())).collect()
    }

    /// Whether a derived or unwrapped key is to be readable here, and where a generated one goes.
    fn here(&self) -> Vec<Attr> {
        if self.place == Place::Token { vec![s(LEVEL, "SOFTWARE")] } else { vec![] }
    }

    /// Does what the flag says, and checks what comes of it.
    pub fn perform(&self, flag: CK_FLAGS, kind: CK_MECHANISM_TYPE, info: &CK_MECHANISM_INFO) -> Result<(), CK_RV> {
        let (c, ours) = (&self.c, self.ours(kind));
        let (public, private) = self.keys.of(ours);
        let mechanism = usual(kind, ours);
        match flag {
            CKF_DIGEST => {
                let whole = c.digest(mechanism, &DATA)?;
                c.digest_init(ours)?;
                DATA.chunks(9).for_each(|part| c.digest_update(part).unwrap());
                assert_eq!(c.digest_final().unwrap(), whole);
            }
            CKF_SIGN => assert!(!self.sign(mechanism, private)?.is_empty()),
            CKF_VERIFY => {
                c.verify_init(mechanism.clone(), public)?;
                assert!(c.verify_data(&DATA, &[0; 7]).is_err());
                let signature = self.sign(usual(ours, ours), private)?;
                c.verify(mechanism.clone(), public, &DATA, &signature)?;
                let other = [&DATA[1..], &[4]].concat();
                assert_eq!(c.verify(mechanism, public, &other, &signature), Err(CKR_SIGNATURE_INVALID));
            }
            CKF_ENCRYPT => assert!(self.encrypt(mechanism, public)?.len() >= DATA.len()),
            CKF_DECRYPT => {
                // What is no ciphertext comes first, so that a key that may not decrypt is found out.
                c.decrypt_init(mechanism.clone(), private)?;
                let _ = c.decrypt_data(&[7; 3]);
                let sealed = self.encrypt(usual(ours, ours), public)?;
                assert!(!sealed.windows(32).any(|part| part == DATA));
                c.decrypt_init(mechanism, private)?;
                let (start, len) = (sealed.as_ptr().cast_mut(), sealed.len() as CK_ULONG);
                let plain = two_calls(false, |out, size| call!(c.m, C_Decrypt(c.h, start, len, out, size)))?;
                let (zeros, end) = plain.split_at(plain.len() - DATA.len());
                assert!(end == DATA && zeros.iter().all(|byte| *byte == 0));
            }
            CKF_WRAP => assert!(c.wrap(mechanism, public, self.wrapped())?.len() >= SECRET.len()),
            CKF_UNWRAP => {
                let template = [&[u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_AES)], &self.here()[..]].concat();
                if info.flags & CKF_UNWRAP == 0 {
                    return c.unwrap(mechanism, private, &[7; 64], &template).map(drop);
                }
                let sealed = c.wrap(usual(ours, ours), public, self.wrapped())?;
                let key = c.unwrap(mechanism, private, &sealed, &template)?;
                assert_eq!(c.get(key, CKA_VALUE).unwrap(), SECRET);
            }
            CKF_DERIVE => self.derive(kind, &mechanism)?,
            CKF_GENERATE => self.generate(&mechanism, ours, info)?,
            CKF_GENERATE_KEY_PAIR => self.generate_pair(&mechanism, ours, info)?,
            CKF_MESSAGE_SIGN => drop(self.sign_messages(&mechanism, private, info)?),
            CKF_MESSAGE_VERIFY => self.verify_messages(&mechanism, (public, private), info)?,
            CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT => self.crypt_messages(flag, &mechanism, public, info)?,
            _ => panic!("no test performs the flag {flag:#x}"),
        }
        Ok(())
    }

    fn wrapped(&self) -> CK_OBJECT_HANDLE {
        self.c.secret(CKK_AES, &SECRET)
    }

    /// The announced size may be only the most that it can be.
    fn sign(&self, mechanism: Mech, key: CK_OBJECT_HANDLE) -> Result<Vec<u8>, CK_RV> {
        let c = &self.c;
        c.sign_init(mechanism, key)?;
        let (start, len) = (DATA.as_ptr().cast_mut(), DATA.len() as CK_ULONG);
        two_calls(false, |out, size| call!(c.m, C_Sign(c.h, start, len, out, size)))
    }

    fn encrypt(&self, mechanism: Mech, key: CK_OBJECT_HANDLE) -> Result<Vec<u8>, CK_RV> {
        let c = &self.c;
        c.encrypt_init(mechanism, key)?;
        let (start, len) = (DATA.as_ptr().cast_mut(), DATA.len() as CK_ULONG);
        two_calls(false, |out, size| call!(c.m, C_Encrypt(c.h, start, len, out, size)))
    }

    fn derive(&self, kind: CK_MECHANISM_TYPE, mechanism: &Mech) -> Result<(), CK_RV> {
        let (c, ours) = (&self.c, self.ours(kind));
        let (public, private) = self.keys.of(ours);
        let key_type: &[Attr] = if ours == CKM_HKDF_DATA { &[] } else { &[u(CKA_KEY_TYPE, CKK_AES)] };
        let template = [key_type, &[u(CKA_VALUE_LEN, 32)]].concat();
        let value = |derived| c.get(derived, CKA_VALUE).unwrap();
        if matches!(ours, CKM_ECDH1_DERIVE | CKM_ECDH1_COFACTOR_DERIVE) {
            // Both sides agree.
            let point = |key| c.get(key, CKA_EC_POINT).unwrap();
            let is_25519 = point(public).len() < 40;
            let peer = if is_25519 { self.peers.1 } else { self.peers.0 };
            let here = c.derive(&Mech::ecdh(kind, &point(peer.0)), private, &template)?;
            let there = c.derive(&Mech::ecdh(kind, &point(public)), peer.1, &template).unwrap();
            assert_eq!(value(here), value(there));
            return Ok(());
        }
        let derived = value(c.derive(mechanism, private, &template)?);
        assert_eq!((derived.len(), value(c.derive(mechanism, private, &template)?)), (32, derived.clone()));
        let by = match ours {
            CKM_AES_ECB_ENCRYPT_DATA => Mech::new(CKM_AES_ECB),
            CKM_AES_CBC_ENCRYPT_DATA => Mech::with(CKM_AES_CBC, [3; 16]),
            SM4_ECB_DATA => Mech::new(SM4_CBC - 1),
            SM4_CBC_DATA => Mech::with(SM4_CBC, [3; 16]),
            _ => return Ok(()),
        };
        assert_eq!(c.encrypt(by, private, &SECRET).unwrap(), derived);
        Ok(())
    }

    fn size(&self, info: &CK_MECHANISM_INFO, token: CK_ULONG) -> CK_ULONG {
        match self.place {
            Place::Smallest => info.ulMinKeySize,
            Place::Largest => info.ulMaxKeySize,
            Place::Token => token,
        }
    }

    fn generate(&self, mechanism: &Mech, ours: CK_MECHANISM_TYPE, info: &CK_MECHANISM_INFO) -> Result<(), CK_RV> {
        let c = &self.c;
        let own = [&self.here()[..], &[b(CKA_TOKEN, self.place == Place::Token)]].concat();
        // Generic secrets are told in bits.
        let unit = if ours == CKM_GENERIC_SECRET_KEY_GEN { 8 } else { 1 };
        let length = if ours == SM4_GEN { 16 } else { self.size(info, 32 * unit) / unit };
        let template = |length| [&own[..], &[u(CKA_VALUE_LEN, length)]].concat();
        let key = c.generate(mechanism.clone(), &template(length))?;
        assert_eq!(number(&c.get(key, CKA_VALUE_LEN).unwrap()), length);
        assert_eq!(number(&c.get(key, CKA_KEY_GEN_MECHANISM).unwrap()), ours);
        for beyond in [info.ulMinKeySize / unit - 1, info.ulMaxKeySize / unit + 1] {
            assert_eq!(c.generate(mechanism.clone(), &template(beyond)), Err(CKR_KEY_SIZE_RANGE), "{ours:#x} {beyond}");
        }
        Ok(())
    }

    fn generate_pair(&self, mechanism: &Mech, ours: CK_MECHANISM_TYPE, info: &CK_MECHANISM_INFO) -> Result<(), CK_RV> {
        let c = &self.c;
        let own = [&self.here()[..], &[b(CKA_TOKEN, self.place == Place::Token)]].concat();
        let shape = match ours {
            CKM_EC_KEY_PAIR_GEN => v(CKA_EC_PARAMS, if self.size(info, 256) == 521 { P521 } else { P256 }),
            CKM_EC_EDWARDS_KEY_PAIR_GEN => v(CKA_EC_PARAMS, ED25519),
            CKM_EC_MONTGOMERY_KEY_PAIR_GEN => v(CKA_EC_PARAMS, X25519),
            SM2_PAIR_GEN => b(CKA_VERIFY, true),
            _ => u(CKA_MODULUS_BITS, self.size(info, 2048)),
        };
        let (public, private) = c.generate_pair(mechanism.clone(), &[&own[..], &[shape]].concat(), &own)?;
        for half in [public, private] {
            assert_eq!(number(&c.get(half, CKA_KEY_GEN_MECHANISM).unwrap()), ours);
        }
        if ours == CKM_RSA_PKCS_KEY_PAIR_GEN {
            assert_eq!(number(&c.get(public, CKA_MODULUS_BITS).unwrap()), self.size(info, 2048));
            for beyond in [info.ulMinKeySize - 1, info.ulMaxKeySize + 1] {
                let template = [&own[..], &[u(CKA_MODULUS_BITS, beyond)]].concat();
                assert_eq!(c.generate_pair(mechanism.clone(), &template, &own), Err(CKR_KEY_SIZE_RANGE), "{beyond}");
            }
        }
        Ok(())
    }
}
