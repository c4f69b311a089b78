/*
 * Initialise, log in, find a key, fork, sign: nginx, httpd and sshd do it. Children go on in each of the ways that
 * clients were seen to take; none of them may disturb the parent or the others.
 *
 * cc -I/usr/include/p11-kit-1 fork.c -o fork -ldl -lpthread
 * ALIKMS_CONF=... timeout 120 ./fork MODULE TOKEN PIN
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>
#include "p11.h"

enum { CHILDREN = 12, SIGNATURES = 20 };

static CK_FUNCTION_LIST_PTR p11;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE public, private;
static const char *pin;
static const char *const label = "fork-test";

static void sign_often(CK_SESSION_HANDLE with, CK_OBJECT_HANDLE key)
{
    CK_BYTE signature[64];
    for (int i = 0; i < SIGNATURES; i++)
        sign(p11, with, key, signature);
}

/* A session of the child's own, and the key found again. */
static void sign_afresh(void)
{
    CK_SESSION_INFO info;
    RV(p11->C_GetSessionInfo(session, &info), CKR_SESSION_HANDLE_INVALID);
    CK_SESSION_HANDLE own = open_session(p11, slot, pin);
    CK_OBJECT_HANDLE key = find(p11, own, CKO_PRIVATE_KEY, label);
    CHECK(key);
    sign_often(own, key);
}

/* Goes on with what it inherited: what CKF_INTERFACE_FORK_SAFE promises. */
static void goes_on(void)
{
    sign_often(session, private);
}

/* libp11, pkcs11-tool --test-fork: C_Initialize as if nothing had been. */
static void initialises(void)
{
    OK(p11->C_Initialize(NULL));
    RV(p11->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    sign_afresh();
}

/* pkcs11-provider: first ends what it inherited. */
static void finalises(void)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    OK(p11->C_Finalize(NULL));
    RV(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    OK(p11->C_Initialize(&args));
    sign_afresh();
    OK(p11->C_Finalize(NULL));
    OK(p11->C_Initialize(&args));
    sign_afresh();
}

/* A daemon that forks twice. */
static void forks_again(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        initialises();
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    goes_on();
}

static void (*const ways[])(void) = {goes_on, initialises, finalises, forks_again};

static void children(void)
{
    pid_t pids[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = fork();
        CHECK(pids[i] >= 0);
        if (pids[i] == 0) {
            alarm(60);
            ways[i % (sizeof ways / sizeof ways[0])]();
            /* exit, not _exit: the child's destructors must not disturb the parent either. */
            exit(0);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status = 0;
        CHECK(waitpid(pids[i], &status, 0) == pids[i]);
        if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            fprintf(stderr, "child %d (way %d): status 0x%x\n", i, i % 4, status);
            exit(1);
        }
    }
}

#ifdef __SANITIZE_ADDRESS__
/* libasan 8 does not bear it: its allocator stays locked for ever in a child that is born while another thread is in it. */
static void children_while_others_sign(void) {}
#else
static atomic_int stop;

static void *busy(void *unused)
{
    (void)unused;
    CK_SESSION_HANDLE own = open_session(p11, slot, pin);
    CK_BYTE signature[64];
    while (!stop)
        sign(p11, own, private, signature);
    return NULL;
}

static void children_while_others_sign(void)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_create(&threads[i], NULL, busy, NULL));
    children();
    stop = 1;
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_join(threads[i], NULL));
}
#endif

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: fork MODULE TOKEN PIN\n");
        return 2;
    }
    pin = argv[3];
    p11 = load(argv[1], NULL);
    OK(p11->C_Initialize(NULL));
    slot = slot_of(p11, argv[2]);
    session = open_session(p11, slot, pin);
    generate_pair(p11, session, label, CK_TRUE, &public, &private);
    goes_on();

    children();
    goes_on();

    /* The same while other threads of the parent are inside C_Sign at the moment of the fork. */
    children_while_others_sign();

    CK_BYTE signature[64];
    sign(p11, session, private, signature);
    verify(p11, session, public, signature);
    p11->C_DestroyObject(session, public);
    p11->C_DestroyObject(session, private);
    OK(p11->C_Finalize(NULL));
    puts("ok");
    return 0;
}
