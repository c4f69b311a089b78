/*
 * A program that is linked with the module, so that our C_* symbols come first in the global scope: a device library
 * whose function table is filled by name would get ours and call itself round in circles (devices.md, finding 1).
 * Run it on a token whose keys live in a device (SoftHSM 2.6.1 is such a library); it must sign and not hang.
 *
 * cc -I/usr/include/p11-kit-1 linked.c -o linked -L DIR -lalikms_pkcs11 -Wl,-rpath,DIR -ldl
 * ALIKMS_CONF=... timeout 60 ./linked TOKEN PIN
 */
#define _GNU_SOURCE
#include "p11.h"

/* The object that an address belongs to. */
static const void *object_of(void *address)
{
    Dl_info info;
    CHECK(dladdr(address, &info));
    return info.dli_fbase;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: linked TOKEN PIN\n");
        return 2;
    }
    CK_FUNCTION_LIST_PTR p11 = NULL;
    OK(C_GetFunctionList(&p11));

    /* The table leads into the module, but not to the symbols that others might have replaced. */
    const void *module = object_of(p11);
    CHECK(object_of((void *)p11->C_Sign) == module);
    CHECK((void *)p11->C_Sign != dlsym(RTLD_DEFAULT, "C_Sign"));
    CHECK((void *)p11->C_Initialize != dlsym(RTLD_DEFAULT, "C_Initialize"));

    /* Symbol and table are two ways into one run. */
    OK(C_Initialize(NULL));
    RV(p11->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);

    CK_SESSION_HANDLE session = open_session(p11, slot_of(p11, argv[1]), argv[2]);
    CK_OBJECT_HANDLE public = 0, private = 0;
    CK_BYTE signature[64];
    generate_pair(p11, session, "linked-test", CK_TRUE, &public, &private);
    sign(p11, session, private, signature);
    verify(p11, session, public, signature);
    C_DestroyObject(session, public);
    C_DestroyObject(session, private);

    OK(C_Finalize(NULL));
    RV(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    puts("ok");
    return 0;
}
