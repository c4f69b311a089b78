//! Key management functions (PKCS#11 3.2 §5.18).

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::{mechanism, template};
use crate::error::Result;
use crate::remote::Tokens;

const NO_KEM: &str = "no key encapsulation mechanism";

/// C_WrapKey and C_WrapKeyAuthenticated: the wrapped key, and where the token made the IV, that into the parameter.
fn wrap(
    p: Tokens,
    session: CK_SESSION_HANDLE,
    mechanism: In<CK_MECHANISM>,
    (wrapping, key): (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    associated: Option<(In<u8>, CK_ULONG)>,
    (wrapped, wrapped_len): (Out<u8>, Out<CK_ULONG>),
) -> Result<()> {
    let (room, (answer, iv), place) = p.session(session, |s| {
        let room = wrapped.room(wrapped_len)?;
        let (mechanism, place) = mechanism::wrapping(mechanism)?;
        let associated = associated.as_ref().map(|(start, len)| start.bytes(*len)).transpose()?;
        Ok((room, s.wrap_key(&mechanism, wrapping, key, associated, room)?, place))
    })?;
    if let (Some(iv), Some(place)) = (iv, place) {
        place.fill(&iv)?;
    }
    wrapped.give(wrapped_len, room, answer)
}

cryptoki! {
    fn C_GenerateKey(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        attributes: In<CK_ATTRIBUTE>,
        count: CK_ULONG,
        key: Out<CK_OBJECT_HANDLE>,
    ) |p| {
        p.session(session, |s| {
            let key = key.needed()?;
            key.put(s.generate_key(&mechanism::needed(mechanism)?, &template::read(attributes, count)?)?);
            Ok(())
        })
    }

    fn C_GenerateKeyPair(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        public_attributes: In<CK_ATTRIBUTE>,
        public_count: CK_ULONG,
        private_attributes: In<CK_ATTRIBUTE>,
        private_count: CK_ULONG,
        public: Out<CK_OBJECT_HANDLE>,
        private: Out<CK_OBJECT_HANDLE>,
    ) |p| {
        p.session(session, |s| {
            let (public, private) = (public.needed()?, private.needed()?);
            let mechanism = mechanism::needed(mechanism)?;
            let public_template = template::read(public_attributes, public_count)?;
            let private_template = template::read(private_attributes, private_count)?;
            let keys = s.generate_key_pair(&mechanism, &public_template, &private_template)?;
            public.put(keys.0);
            private.put(keys.1);
            Ok(())
        })
    }

    fn C_WrapKey(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
        wrapped: Out<u8>,
        wrapped_len: Out<CK_ULONG>,
    ) |p| {
        wrap(p, session, mechanism, (wrapping, key), None, (wrapped, wrapped_len))
    }

    fn C_UnwrapKey(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: In<u8>,
        wrapped_len: CK_ULONG,
        attributes: In<CK_ATTRIBUTE>,
        count: CK_ULONG,
        key: Out<CK_OBJECT_HANDLE>,
    ) |p| {
        p.session(session, |s| {
            let key = key.needed()?;
            let mechanism = mechanism::needed(mechanism)?;
            let template = template::read(attributes, count)?;
            key.put(s.unwrap_key(&mechanism, unwrapping, wrapped.bytes(wrapped_len)?, &template, None)?);
            Ok(())
        })
    }

    /// Every mechanism here makes one key, whose handle goes to `key`.
    fn C_DeriveKey(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        base: CK_OBJECT_HANDLE,
        attributes: In<CK_ATTRIBUTE>,
        count: CK_ULONG,
        key: Out<CK_OBJECT_HANDLE>,
    ) |p| {
        p.session(session, |s| {
            let key = key.needed()?;
            key.put(s.derive_key(&mechanism::needed(mechanism)?, base, &template::read(attributes, count)?)?);
            Ok(())
        })
    }

    fn C_EncapsulateKey(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        public: CK_OBJECT_HANDLE,
        attributes: In<CK_ATTRIBUTE>,
        count: CK_ULONG,
        ciphertext: Out<u8>,
        ciphertext_len: Out<CK_ULONG>,
        key: Out<CK_OBJECT_HANDLE>,
    ) = not_supported(NO_KEM);

    fn C_DecapsulateKey(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        private: CK_OBJECT_HANDLE,
        attributes: In<CK_ATTRIBUTE>,
        count: CK_ULONG,
        ciphertext: In<u8>,
        ciphertext_len: CK_ULONG,
        key: Out<CK_OBJECT_HANDLE>,
    ) = not_supported(NO_KEM);

    fn C_WrapKeyAuthenticated(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
        associated: In<u8>,
        associated_len: CK_ULONG,
        wrapped: Out<u8>,
        wrapped_len: Out<CK_ULONG>,
    ) |p| {
        wrap(p, session, mechanism, (wrapping, key), Some((associated, associated_len)), (wrapped, wrapped_len))
    }

    fn C_UnwrapKeyAuthenticated(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: In<u8>,
        wrapped_len: CK_ULONG,
        attributes: In<CK_ATTRIBUTE>,
        count: CK_ULONG,
        associated: In<u8>,
        associated_len: CK_ULONG,
        key: Out<CK_OBJECT_HANDLE>,
    ) |p| {
        p.session(session, |s| {
            let key = key.needed()?;
            let mechanism = mechanism::needed(mechanism)?;
            let template = template::read(attributes, count)?;
            let associated = Some(associated.bytes(associated_len)?);
            key.put(s.unwrap_key(&mechanism, unwrapping, wrapped.bytes(wrapped_len)?, &template, associated)?);
            Ok(())
        })
    }
}
