//! The function tables and the interfaces: which functions there are, by version of PKCS#11.
//!
//! The names stand here once. The compiler holds them against the header's structures, so none can be missing, too many
//! or of the wrong type.

use cryptoki_sys::*;

use super::{
    State, decrypt::*, digest::*, dual::*, encrypt::*, general::*, key_management::*, message::*, object::*,
    parallel::*, random::*, session::*, sign::*, slot_token::*, verify::*,
};

pub(super) const V2_40: CK_VERSION = CK_VERSION { major: 2, minor: 40 };
pub(super) const V3_0: CK_VERSION = CK_VERSION { major: 3, minor: 0 };
pub(super) const V3_2: CK_VERSION = CK_VERSION { major: 3, minor: 2 };

/// The name of the standard interfaces.
pub(super) const NAME: &[u8] = b"PKCS 11";
static C_NAME: [u8; 8] = *b"PKCS 11\0";

pub(super) fn function_list() -> *mut CK_FUNCTION_LIST {
    (&raw const LIST_2_40).cast_mut()
}

pub(super) fn interfaces() -> &'static [CK_INTERFACE] {
    &INTERFACES.0
}

/// The first interface of this version (any, if `None`) that has these flags.
pub(super) fn interface(version: Option<CK_VERSION>, flags: CK_FLAGS) -> Option<*mut CK_INTERFACE> {
    let index = [V3_2, V3_0, V2_40]
        .iter()
        .position(|ours| version.is_none_or(|asked| (asked.major, asked.minor) == (ours.major, ours.minor)))?;
    let found = interfaces().get(index).filter(|interface| flags & !interface.flags == 0)?;
    Some(std::ptr::from_ref(found).cast_mut())
}

/// In order of preference: the first is the default.
static INTERFACES: Shared<[CK_INTERFACE; 3]> = Shared([
    standard((&raw const LIST_3_2).cast()),
    standard((&raw const LIST_3_0).cast()),
    standard((&raw const LIST_2_40).cast()),
]);

/// A forked child goes on with a copy of the sessions, logins and operations: CKF_INTERFACE_FORK_SAFE (PKCS#11 3.2 §3.1). With
/// `[client]` it goes on without session objects and operations that were fed a part (docs/agent.md); this is a constant.
const fn standard(list: *const std::ffi::c_void) -> CK_INTERFACE {
    CK_INTERFACE {
        pInterfaceName: C_NAME.as_ptr().cast_mut(),
        pFunctionList: list.cast_mut(),
        flags: CKF_INTERFACE_FORK_SAFE,
    }
}

struct Shared<T>(T);

// SAFETY: the pointers lead to statics that nobody writes to.
unsafe impl Sync for Shared<[CK_INTERFACE; 3]> {}

macro_rules! tables {
    ($($v2_40:ident)* ; $($v3_0:ident)* ; $($v3_2:ident)* ;) => {
        static LIST_2_40: CK_FUNCTION_LIST =
            CK_FUNCTION_LIST { version: V2_40, C_GetInfo: Some(C_GetInfo), $($v2_40: Some($v2_40),)* };
        static LIST_3_0: CK_FUNCTION_LIST_3_0 = CK_FUNCTION_LIST_3_0 {
            version: V3_0, C_GetInfo: Some(info_3_0), $($v2_40: Some($v2_40),)* $($v3_0: Some($v3_0),)*
        };
        static LIST_3_2: CK_FUNCTION_LIST_3_2 = CK_FUNCTION_LIST_3_2 {
            version: V3_2, C_GetInfo: Some(info_3_2),
            $($v2_40: Some($v2_40),)* $($v3_0: Some($v3_0),)* $($v3_2: Some($v3_2),)*
        };

        /// Every function of PKCS#11 3.2, in the order of the header, and whether it works.
        pub static FUNCTIONS: &[(&str, State)] = &[
            ("C_GetInfo", C_GetInfo::STATE),
            $((stringify!($v2_40), $v2_40::STATE),)*
            $((stringify!($v3_0), $v3_0::STATE),)*
            $((stringify!($v3_2), $v3_2::STATE),)*
        ];
    };
}

// C_GetInfo is not named: each table has its own, which tells the table's version.
tables! {
    C_Initialize C_Finalize C_GetFunctionList
    C_GetSlotList C_GetSlotInfo C_GetTokenInfo C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN
    C_OpenSession C_CloseSession C_CloseAllSessions C_GetSessionInfo C_GetOperationState C_SetOperationState
    C_Login C_Logout
    C_CreateObject C_CopyObject C_DestroyObject C_GetObjectSize C_GetAttributeValue C_SetAttributeValue
    C_FindObjectsInit C_FindObjects C_FindObjectsFinal
    C_EncryptInit C_Encrypt C_EncryptUpdate C_EncryptFinal
    C_DecryptInit C_Decrypt C_DecryptUpdate C_DecryptFinal
    C_DigestInit C_Digest C_DigestUpdate C_DigestKey C_DigestFinal
    C_SignInit C_Sign C_SignUpdate C_SignFinal C_SignRecoverInit C_SignRecover
    C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal C_VerifyRecoverInit C_VerifyRecover
    C_DigestEncryptUpdate C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate
    C_GenerateKey C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey
    C_SeedRandom C_GenerateRandom
    C_GetFunctionStatus C_CancelFunction C_WaitForSlotEvent
    ;
    C_GetInterfaceList C_GetInterface C_LoginUser C_SessionCancel
    C_MessageEncryptInit C_EncryptMessage C_EncryptMessageBegin C_EncryptMessageNext C_MessageEncryptFinal
    C_MessageDecryptInit C_DecryptMessage C_DecryptMessageBegin C_DecryptMessageNext C_MessageDecryptFinal
    C_MessageSignInit C_SignMessage C_SignMessageBegin C_SignMessageNext C_MessageSignFinal
    C_MessageVerifyInit C_VerifyMessage C_VerifyMessageBegin C_VerifyMessageNext C_MessageVerifyFinal
    ;
    C_EncapsulateKey C_DecapsulateKey
    C_VerifySignatureInit C_VerifySignature C_VerifySignatureUpdate C_VerifySignatureFinal
    C_GetSessionValidationFlags C_AsyncComplete C_AsyncGetID C_AsyncJoin
    C_WrapKeyAuthenticated C_UnwrapKeyAuthenticated
    ;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_by_version_and_flags() {
        let version = |interface: *mut CK_INTERFACE| {
            // SAFETY: a table of ours, which begins with its version.
            unsafe { *(*interface).pFunctionList.cast::<CK_VERSION>() }
        };
        assert_eq!(version(interface(None, 0).unwrap()).minor, 2);
        for asked in [V3_2, V3_0, V2_40] {
            let found = version(interface(Some(asked), CKF_INTERFACE_FORK_SAFE).unwrap());
            assert_eq!((found.major, found.minor), (asked.major, asked.minor));
        }
        assert_eq!(interface(Some(CK_VERSION { major: 3, minor: 1 }), 0), None);
        assert_eq!(interface(None, 2), None);
    }

    #[test]
    fn the_tables_lead_past_the_exported_symbols() {
        unsafe extern "C" {
            fn C_Sign() -> CK_RV;
        }
        assert!(LIST_2_40.C_Sign.is_some_and(|f| f as usize != C_Sign as *const () as usize));
    }
}
