/* What the C tests share: a check that names the line, the module, the slot of a token, a session, a key. */
#ifndef ALIKMS_TEST_P11_H
#define ALIKMS_TEST_P11_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <p11-kit/pkcs11.h>

#define CHECK(what)                                                        \
    do {                                                                   \
        if (!(what)) {                                                     \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            exit(1);                                                       \
        }                                                                  \
    } while (0)

#define RV(call, wanted)                                                                            \
    do {                                                                                            \
        CK_RV rv_ = (call), wanted_ = (wanted);                                                     \
        if (rv_ != wanted_) {                                                                       \
            fprintf(stderr, "%s:%d: %s: 0x%lx, not 0x%lx\n", __FILE__, __LINE__, #call, rv_, wanted_); \
            exit(1);                                                                                \
        }                                                                                           \
    } while (0)

#define OK(call) RV(call, CKR_OK)

static inline CK_FUNCTION_LIST_PTR load(const char *path, void **handle)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    CHECK(get);
    CK_FUNCTION_LIST_PTR list = NULL;
    OK(get(&list));
    if (handle)
        *handle = library;
    return list;
}

/* The slot whose token has this label. */
static inline CK_SLOT_ID slot_of(CK_FUNCTION_LIST_PTR p11, const char *label)
{
    CK_SLOT_ID slots[64];
    CK_ULONG count = 64;
    OK(p11->C_GetSlotList(CK_TRUE, slots, &count));
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        OK(p11->C_GetTokenInfo(slots[i], &info));
        size_t len = sizeof info.label;
        while (len && info.label[len - 1] == ' ')
            len--;
        if (len == strlen(label) && !memcmp(info.label, label, len))
            return slots[i];
    }
    fprintf(stderr, "no token %s\n", label);
    exit(1);
}

/* A session of a user who is logged in. */
static inline CK_SESSION_HANDLE open_session(CK_FUNCTION_LIST_PTR p11, CK_SLOT_ID slot, const char *pin)
{
    CK_SESSION_HANDLE session = 0;
    OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    CK_RV rv = p11->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin));
    CHECK(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN);
    return session;
}

/* A P-256 pair with this label; kept in the token if `token`. */
static inline void generate_pair(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session, const char *label, CK_BBOOL token,
                                 CK_OBJECT_HANDLE *public, CK_OBJECT_HANDLE *private)
{
    static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_BBOOL yes = CK_TRUE;
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE for_public[] = {{CKA_EC_PARAMS, p256, sizeof p256},
                                 {CKA_VERIFY, &yes, sizeof yes},
                                 {CKA_TOKEN, &token, sizeof token},
                                 {CKA_LABEL, (void *)label, strlen(label)}};
    CK_ATTRIBUTE for_private[] = {{CKA_SIGN, &yes, sizeof yes},
                                  {CKA_TOKEN, &token, sizeof token},
                                  {CKA_LABEL, (void *)label, strlen(label)}};
    OK(p11->C_GenerateKeyPair(session, &mechanism, for_public, 4, for_private, 3, public, private));
}

/* The key of this class and label; 0 if there is none. */
static inline CK_OBJECT_HANDLE find(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class,
                                    const char *label)
{
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, (void *)label, strlen(label)}};
    CK_OBJECT_HANDLE object = 0;
    CK_ULONG count = 0;
    OK(p11->C_FindObjectsInit(session, wanted, 2));
    OK(p11->C_FindObjects(session, &object, 1, &count));
    OK(p11->C_FindObjectsFinal(session));
    return count ? object : 0;
}

/* Signs a digest with `private` and checks the length of the answer (r and s of P-256). */
static inline void sign(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private, CK_BYTE *signature)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_BYTE digest[32];
    CK_ULONG len = 64;
    memset(digest, 0x5a, sizeof digest);
    OK(p11->C_SignInit(session, &mechanism, private));
    OK(p11->C_Sign(session, digest, sizeof digest, signature, &len));
    CHECK(len == 64);
}

static inline void verify(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE public, CK_BYTE *signature)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_BYTE digest[32];
    memset(digest, 0x5a, sizeof digest);
    OK(p11->C_VerifyInit(session, &mechanism, public));
    OK(p11->C_Verify(session, digest, sizeof digest, signature, 64));
}

#endif
