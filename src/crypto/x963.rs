//! The key derivation of ANSI X9.63 (SEC 1 §3.6.1): a shared secret becomes a key of any length. aws-lc has the hashes
//! only.

use super::append;
use super::digest::Hasher;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::hash::Hash;

/// Hash(secret ‖ counter ‖ info), one block after the other, cut to `len` bytes; `InvalidParameter` beyond 2³² − 1
/// blocks.
pub fn derive(hash: Hash, secret: &[u8], info: &[u8], len: usize) -> Result<Bytes> {
    let blocks = u32::try_from(len.div_ceil(hash.len()));
    let blocks = blocks.map_err(|_| Error::invalid("length", "longer than X9.63 can derive"))?;
    let mut out = Bytes::default();
    for counter in 1..=blocks {
        let mut hasher = Hasher::new(hash);
        hasher.update(secret);
        hasher.update(&counter.to_be_bytes());
        hasher.update(info);
        append(&mut out, &Bytes::new(hasher.finish()))?;
    }
    out.truncate(len);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hex;

    /// NIST CAVP, ANS X9.63-2001 KDF, SHA-256 with 128 bits and without shared info (count 0); with shared info.
    #[test]
    fn known_keys() {
        let secret = hex("96c05619d56c328ab95fe84b18264b08725b85e33fd34f08");
        assert_eq!(*derive(Hash::Sha256, &secret, b"", 16).unwrap(), hex("443024c3dae66b95e6f5670601558f71"));
        let secret = hex("22518b10e70f2a3f243810ae3254139efbee04aa57c7af7d");
        let info = hex("75eef81aa3041e33b80971203d2c0c52");
        let key = "c498af77161cc59f2962b9a713e2b215152d139766ce34a776df11866a69bf2e\
                   52a13d9c7c6fc878c50c5ea0bc7b00e0da2447cfd874f6cf92f30d0097111485\
                   500c90c3af8b487872d04685d14c8d1dc8d7fa08beb0ce0ababc11f0bd496269\
                   142d43525a78e5bc79a17f59676a5706dc54d54d4d1f0bd7e386128ec26afc21";
        assert_eq!(*derive(Hash::Sha256, &secret, &info, 128).unwrap(), hex(key));
        assert!(derive(Hash::Sha256, &secret, &info, 0).unwrap().is_empty());
    }
}
