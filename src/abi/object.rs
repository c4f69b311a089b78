//! Object management functions (PKCS#11 3.2 §5.7).

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::template::{self, Asked};

cryptoki! {
    fn C_CreateObject(
        session: CK_SESSION_HANDLE,
        attributes: In<CK_ATTRIBUTE>,
        count: CK_ULONG,
        object: Out<CK_OBJECT_HANDLE>,
    ) |p| {
        p.session(session, |s| {
            let object = object.needed()?;
            object.put(s.create_object(&template::read(attributes, count)?)?);
            Ok(())
        })
    }

    fn C_CopyObject(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attributes: In<CK_ATTRIBUTE>,
        count: CK_ULONG,
        copy: Out<CK_OBJECT_HANDLE>,
    ) |p| {
        p.session(session, |s| {
            let copy = copy.needed()?;
            copy.put(s.copy_object(object, &template::read(attributes, count)?)?);
            Ok(())
        })
    }

    fn C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) |p| {
        p.session(session, |s| s.destroy_object(object))
    }

    fn C_GetObjectSize(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, size: Out<CK_ULONG>) |p| {
        size.put(p.session(session, |s| s.object_size(object))?)
    }

    fn C_GetAttributeValue(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attributes: Out<CK_ATTRIBUTE>,
        count: CK_ULONG,
    ) |p| {
        p.session(session, |s| {
            let asked = Asked::read(attributes, count)?;
            s.show(object, || asked.kinds(), |shown| asked.answer(|kind| shown.value(kind)))
        })
    }

    fn C_SetAttributeValue(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attributes: In<CK_ATTRIBUTE>,
        count: CK_ULONG,
    ) |p| {
        p.session(session, |s| s.set_attributes(object, &template::read(attributes, count)?))
    }

    fn C_FindObjectsInit(session: CK_SESSION_HANDLE, attributes: In<CK_ATTRIBUTE>, count: CK_ULONG) |p| {
        p.session(session, |s| s.find_init(&template::read(attributes, count)?))
    }

    /// An error leaves the search active: the specification does not end it, and callers end it themselves.
    fn C_FindObjects(
        session: CK_SESSION_HANDLE,
        objects: Out<CK_OBJECT_HANDLE>,
        max: CK_ULONG,
        count: Out<CK_ULONG>,
    ) |p| {
        p.session(session, |s| objects.up_to(max, count, |max| s.find(max)))
    }

    fn C_FindObjectsFinal(session: CK_SESSION_HANDLE) |p| {
        p.session(session, |s| s.find_final())
    }
}
