/*
 * How processes end: while threads sign, by exit, _exit and exec, after dlclose, in a child in the middle of an operation.
 * None hangs or dies, none leaves anything open to what comes after it, and the store is as good as before.
 *
 * cc -I/usr/include/p11-kit-1 exits.c -o exits -ldl -lpthread
 * ALIKMS_CONF=... timeout 120 ./exits MODULE TOKEN PIN
 */
#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>
#include "p11.h"

enum { THREADS = 8 };

static CK_FUNCTION_LIST_PTR p11;
static void *library;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE public, private;
static const char *pin;
static char **words;
static atomic_int signing;
/* How many files were open before the module was loaded. */
static int files;

/* Signs until the process ends; what it is answered once the end has begun is not its business. */
static void *busy(void *unused)
{
    (void)unused;
    CK_SESSION_HANDLE own = open_session(p11, slot, pin);
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_BYTE digest[32] = {1}, signature[64];
    /* Once before the end may come: SoftHSM empties the token's file at C_Login, and who ends just then has no token. */
    sign(p11, own, private, signature);
    signing++;
    for (;;) {
        CK_ULONG len = sizeof signature;
        if (p11->C_SignInit(own, &mechanism, private) == CKR_OK)
            p11->C_Sign(own, digest, sizeof digest, signature, &len);
    }
    return NULL;
}

static void start_threads(void)
{
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, busy, NULL));
    }
    while (signing < THREADS)
        usleep(1000);
    usleep(5000);
}

/* Without those that SoftHSM opens for a moment, which do not close themselves at an exec in that moment. */
static int open_files(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char file[PATH_MAX + 1] = "";
        if (readlinkat(dirfd(dir), entry->d_name, file, PATH_MAX) < 0 || !strstr(file, "/tokens/"))
            count++;
    }
    closedir(dir);
    return count;
}

static void begin(void)
{
    p11 = load(words[1], &library);
    OK(p11->C_Initialize(NULL));
    slot = slot_of(p11, words[2]);
    session = open_session(p11, slot, pin);
}

static void returns(void)
{
    start_threads();
    exit(0);
}

static void ends_at_once(void)
{
    start_threads();
    _exit(0);
}

/* C_Finalize by a destructor of the host's, as OpenSSL's engines do it, while threads sign. */
static void finalise(void)
{
    CK_RV rv = p11->C_Finalize(NULL);
    CHECK(rv == CKR_OK || rv == CKR_CRYPTOKI_NOT_INITIALIZED);
}

static void finalises_at_exit(void)
{
    CHECK(!atexit(finalise));
    start_threads();
    exit(0);
}

/* Unloaded by its host, who goes on all the same: the code stays (-z nodelete). */
static void unloads(void)
{
    start_threads();
    CHECK(!dlclose(library));
    usleep(20000);
    CK_BYTE signature[64];
    sign(p11, session, private, signature);
    exit(0);
}

/* The program that comes after has none of our files open. It is this one, told to count. */
static void becomes_another(void)
{
    start_threads();
    char count[16];
    snprintf(count, sizeof count, "%d", files);
    execl("/proc/self/exe", words[0], words[1], words[2], words[3], count, (char *)NULL);
    _exit(1);
}

static void child(void (*end)(void), int wanted)
{
    int status = 0;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(60);
        end();
        _exit(99);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted) {
        fprintf(stderr, "status 0x%x\n", status);
        exit(1);
    }
}

/* In the middle of what the parent began, each to its own end. */
static void leaves_in_the_middle(void)
{
    CK_BYTE part[32] = {2};
    OK(p11->C_SignUpdate(session, part, sizeof part));
    _exit(0);
}

static void exits_in_the_middle(void)
{
    CK_BYTE part[32] = {2};
    OK(p11->C_SignUpdate(session, part, sizeof part));
    exit(0);
}

/* A child of a process that never called C_Initialize is the first to do so. */
static void first_of_all(void)
{
    begin();
    CK_BYTE signature[64];
    generate_pair(p11, session, "exits-test", CK_FALSE, &public, &private);
    sign(p11, session, private, signature);
    verify(p11, session, public, signature);
    OK(p11->C_Finalize(NULL));
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: exits MODULE TOKEN PIN\n");
        return 2;
    }
    words = argv;
    pin = argv[3];
    files = open_files();
    if (argc > 4) {
        /* After exec. */
        CHECK(files == atoi(argv[4]));
        begin();
        return p11->C_Finalize(NULL) == CKR_OK ? 0 : 1;
    }
    child(first_of_all, 0);

    begin();
    generate_pair(p11, session, "exits-test", CK_TRUE, &public, &private);
    void (*const ends[])(void) = {returns, ends_at_once, finalises_at_exit, unloads, becomes_another};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        child(ends[i], 0);
        CK_BYTE signature[64];
        sign(p11, session, private, signature);
        verify(p11, session, public, signature);
    }

    CK_MECHANISM mechanism = {CKM_ECDSA_SHA256, NULL, 0};
    CK_BYTE part[32] = {2}, signature[64];
    CK_ULONG len = sizeof signature;
    OK(p11->C_SignInit(session, &mechanism, private));
    OK(p11->C_SignUpdate(session, part, sizeof part));
    child(leaves_in_the_middle, 0);
    child(exits_in_the_middle, 0);
    OK(p11->C_SignUpdate(session, part, sizeof part));
    OK(p11->C_SignFinal(session, signature, &len));
    OK(p11->C_VerifyInit(session, &mechanism, public));
    OK(p11->C_VerifyUpdate(session, part, sizeof part));
    OK(p11->C_VerifyUpdate(session, part, sizeof part));
    OK(p11->C_VerifyFinal(session, signature, len));
    p11->C_DestroyObject(session, public);
    p11->C_DestroyObject(session, private);
    OK(p11->C_Finalize(NULL));
    puts("ok");
    return 0;
}
