/* A device that errs as told: forwards to SoftHSM, and looks up in a file shared with the test what to do instead.
 * pReserved is the path of that file: an array of `struct order`, one for each function below, in this order. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef unsigned long ulong_t;
typedef ulong_t rv_t;
typedef struct { ulong_t type; void *value; ulong_t len; } attribute_t;

struct order {
    uint64_t rv;      /* answered instead, `left` times */
    uint64_t left;
    uint64_t after;   /* 1: after the work is done; 2: the answer is falsified; 3, 4: it crashes, before or after the work */
    uint64_t delay;   /* ms before each call */
    uint64_t limit;   /* C_OpenSession: at most so many */
    uint64_t calls;   /* counted */
};

enum { INITIALIZE, FINALIZE, OPEN, CLOSE, CLOSE_ALL, LOGIN, FIND_INIT, GET, GENERATE_PAIR, SIGN_INIT, SIGN, RANDOM, DESTROY, COUNT };

/* The places of these functions in CK_FUNCTION_LIST, counted from C_Initialize. */
static const int place[COUNT] = { 0, 1, 12, 13, 14, 18, 26, 24, 59, 42, 43, 64, 22 };

static void *list[1 + 68];     /* version, padded to a pointer, then the functions */
static void *real[68];
static struct order none[COUNT], *orders = none;
static long open_sessions;
static char *volatile nowhere;

static int told(int which, rv_t *rv, uint64_t when) {
    struct order *order = &orders[which];
    if (order->left && order->after == when + 3) {
        order->left--;
        *nowhere = 1;
    }
    if (order->left == 0 || order->after != when) return 0;
    __sync_fetch_and_sub(&order->left, 1);
    *rv = order->rv;
    return 1;
}

#define ERRING(which, name, types, arguments)                                  \
    static rv_t name types {                                                   \
        rv_t rv;                                                               \
        __sync_fetch_and_add(&orders[which].calls, 1);                         \
        if (orders[which].delay) usleep(orders[which].delay * 1000);           \
        if (told(which, &rv, 0)) return rv;                                    \
        rv = ((rv_t (*) types) real[place[which]]) arguments;                  \
        told(which, &rv, 1);                                                   \
        return rv;                                                             \
    }

ERRING(FINALIZE, finalize, (void *reserved), (reserved))
ERRING(LOGIN, login, (ulong_t session, ulong_t user, void *pin, ulong_t len), (session, user, pin, len))
ERRING(FIND_INIT, find_init, (ulong_t session, void *template, ulong_t count), (session, template, count))
ERRING(SIGN_INIT, sign_init, (ulong_t session, void *mechanism, ulong_t key), (session, mechanism, key))
ERRING(RANDOM, generate_random, (ulong_t session, void *out, ulong_t len), (session, out, len))
ERRING(DESTROY, destroy, (ulong_t session, ulong_t object), (session, object))
ERRING(GENERATE_PAIR, generate_pair,
       (ulong_t session, void *mechanism, void *public, ulong_t publics, void *private, ulong_t privates, ulong_t *one, ulong_t *other),
       (session, mechanism, public, publics, private, privates, one, other))

static rv_t sign(ulong_t session, void *data, ulong_t len, unsigned char *out, ulong_t *out_len) {
    rv_t rv;
    __sync_fetch_and_add(&orders[SIGN].calls, 1);
    if (orders[SIGN].delay) usleep(orders[SIGN].delay * 1000);
    if (told(SIGN, &rv, 0)) return rv;
    rv = ((rv_t (*)(ulong_t, void *, ulong_t, void *, ulong_t *)) real[place[SIGN]])(session, data, len, out, out_len);
    if (told(SIGN, &rv, 2)) { *out_len = rv; rv = 0; }
    return rv;
}

static rv_t get(ulong_t session, ulong_t object, attribute_t *attributes, ulong_t count) {
    rv_t rv, type;
    __sync_fetch_and_add(&orders[GET].calls, 1);
    if (told(GET, &rv, 0)) return rv;
    rv = ((rv_t (*)(ulong_t, ulong_t, attribute_t *, ulong_t)) real[place[GET]])(session, object, attributes, count);
    if (told(GET, &type, 2))
        for (ulong_t i = 0; i < count; i++)
            if (attributes[i].type == type && attributes[i].value) *(unsigned char *) attributes[i].value ^= 1;
    return rv;
}

static rv_t open_session(ulong_t slot, ulong_t flags, void *application, void *notify, ulong_t *session) {
    rv_t rv;
    __sync_fetch_and_add(&orders[OPEN].calls, 1);
    if (told(OPEN, &rv, 0)) return rv;
    if (orders[OPEN].limit && __sync_add_and_fetch(&open_sessions, 1) > (long) orders[OPEN].limit) {
        __sync_fetch_and_sub(&open_sessions, 1);
        return 0xB1;
    }
    return ((rv_t (*)(ulong_t, ulong_t, void *, void *, ulong_t *)) real[place[OPEN]])(slot, flags, application, notify, session);
}

static rv_t close_session(ulong_t session) {
    rv_t rv = ((rv_t (*)(ulong_t)) real[place[CLOSE]])(session);
    __sync_fetch_and_add(&orders[CLOSE].calls, 1);
    if (rv == 0 && orders[OPEN].limit) __sync_fetch_and_sub(&open_sessions, 1);
    return rv;
}

static rv_t close_all(ulong_t slot) {
    __sync_fetch_and_add(&orders[CLOSE_ALL].calls, 1);
    open_sessions = 0;
    return ((rv_t (*)(ulong_t)) real[place[CLOSE_ALL]])(slot);
}

static rv_t initialize(void **args) {
    rv_t rv;
    const char *path = args ? args[5] : 0;
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *map = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (map != MAP_FAILED) orders = map;
        close(file);
    }
    __sync_fetch_and_add(&orders[INITIALIZE].calls, 1);
    if (told(INITIALIZE, &rv, 0)) return rv;
    open_sessions = 0;
    void *copy[6];
    memcpy(copy, args, sizeof copy);
    copy[5] = 0;
    return ((rv_t (*)(void **)) real[place[INITIALIZE]])(copy);
}

__attribute__((visibility("default"))) rv_t C_GetFunctionList(void **out) {
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    rv_t (*function)(void ***) = library ? (rv_t (*)(void ***)) dlsym(library, "C_GetFunctionList") : 0;
    void **theirs;
    rv_t rv = function ? function(&theirs) : 5;
    if (rv) return rv;
    memcpy(real, theirs + 1, sizeof real);
    memcpy(list, theirs, sizeof list);
    void *ours[COUNT] = { initialize, finalize, open_session, close_session, close_all, login, find_init, get,
                          generate_pair, sign_init, sign, generate_random, destroy };
    for (int i = 0; i < COUNT; i++) list[1 + place[i]] = ours[i];
    *out = list;
    return 0;
}
