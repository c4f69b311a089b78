/*
 * What else may be in the process: a second copy of the module, on the same store; and the device's own library, used by
 * the program itself. Whoever logs out, closes or finalises his own leaves the others as they were.
 *
 * cc -I/usr/include/p11-kit-1 neighbours.c -o neighbours -ldl -lpthread
 * ALIKMS_CONF=... timeout 120 ./neighbours MODULE TOKEN PIN COPY [DEVICE-LIBRARY DEVICE-TOKEN DEVICE-PIN]
 */
#include <pthread.h>
#include <stdatomic.h>
#include "p11.h"

enum { ROUNDS = 10, SIGNATURES = 20 };

/* One of those who are there. */
struct one {
    CK_FUNCTION_LIST_PTR p11;
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE public, private;
};

static void begin(struct one *one, const char *token, const char *pin)
{
    OK(one->p11->C_Initialize(NULL));
    one->slot = slot_of(one->p11, token);
    one->session = open_session(one->p11, one->slot, pin);
}

static void work(struct one *one)
{
    CK_BYTE signature[64];
    for (int i = 0; i < SIGNATURES; i++)
        sign(one->p11, one->session, one->private, signature);
    verify(one->p11, one->session, one->public, signature);
}

static void *works(void *one)
{
    for (int i = 0; i < ROUNDS; i++)
        work(one);
    return NULL;
}

static void together(struct one *all, int count)
{
    pthread_t threads[3];
    for (int i = 0; i < count; i++)
        CHECK(!pthread_create(&threads[i], NULL, works, &all[i]));
    for (int i = 0; i < count; i++)
        CHECK(!pthread_join(threads[i], NULL));
}

int main(int argc, char **argv)
{
    if (argc != 5 && argc != 8) {
        fprintf(stderr, "usage: neighbours MODULE TOKEN PIN COPY [DEVICE-LIBRARY DEVICE-TOKEN DEVICE-PIN]\n");
        return 2;
    }
    struct one all[3] = {{.p11 = load(argv[1], NULL)}, {.p11 = load(argv[4], NULL)}};
    CHECK(all[0].p11 != all[1].p11);
    int count = 2;
    if (argc == 8) {
        /* The program comes first: the device's library is its own, and the module finds it initialised. */
        all[2].p11 = load(argv[5], NULL);
        begin(&all[2], argv[6], argv[7]);
        generate_pair(all[2].p11, all[2].session, "own", CK_FALSE, &all[2].public, &all[2].private);
        count = 3;
    }
    begin(&all[0], argv[2], argv[3]);
    /* The copy knows nothing of it. */
    RV(all[1].p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    begin(&all[1], argv[2], argv[3]);
    for (int i = 0; i < 2; i++)
        generate_pair(all[i].p11, all[i].session, i ? "copy" : "first", CK_TRUE, &all[i].public, &all[i].private);
    together(all, count);

    /* What one makes the other finds, by a handle of its own. */
    CHECK(find(all[1].p11, all[1].session, CKO_PRIVATE_KEY, "first"));
    CHECK(find(all[0].p11, all[0].session, CKO_PRIVATE_KEY, "copy"));

    /* The copy goes, and comes again. */
    for (int i = 0; i < 3; i++) {
        OK(all[1].p11->C_Logout(all[1].session));
        OK(all[1].p11->C_CloseAllSessions(all[1].slot));
        OK(all[1].p11->C_Finalize(NULL));
        work(&all[0]);
        if (count == 3)
            work(&all[2]);
        begin(&all[1], argv[2], argv[3]);
        all[1].private = find(all[1].p11, all[1].session, CKO_PRIVATE_KEY, "copy");
        all[1].public = find(all[1].p11, all[1].session, CKO_PUBLIC_KEY, "copy");
        work(&all[1]);
    }
    together(all, count);
    OK(all[0].p11->C_Finalize(NULL));
    work(&all[1]);
    if (count == 3) {
        work(&all[2]);
        /* The program ends its use of the device; the module finds its way to it again. */
        OK(all[2].p11->C_Finalize(NULL));
        work(&all[1]);
    }
    all[1].p11->C_DestroyObject(all[1].session, all[1].private);
    OK(all[1].p11->C_Finalize(NULL));
    puts("ok");
    return 0;
}
