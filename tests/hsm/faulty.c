/* A device that errs: forwards to SoftHSM, and looks up in a page shared with the test what to do instead. pReserved is the
 * path of that page: an array of `struct order`, one for each function below in this order, then a `struct storm`, then how many calls of
 * each function an order lets pass first.
 * Orders say what a function answers next; the storm strikes at random, by its seed.
 *
 * Sessions and objects have numbers of this device's own, so that it can forget them, give them out a second time and call
 * another object by a number that it gave before, as real devices do after a restart. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
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

enum { INITIALIZE, FINALIZE, OPEN, CLOSE, CLOSE_ALL, LOGIN, FIND_INIT, GET, GENERATE_PAIR, SIGN_INIT, SIGN, RANDOM, DESTROY,
       LOGOUT, SESSION_INFO, FIND, FIND_FINAL, ENCRYPT_INIT, ENCRYPT, DECRYPT_INIT, DECRYPT, GENERATE, SLOT_LIST, TOKEN_INFO,
       MECHANISM_LIST, UNWRAP, WRAP, CREATE, COUNT };

/* The places of these functions in CK_FUNCTION_LIST, counted from C_Initialize. */
static const int place[COUNT] = { 0, 1, 12, 13, 14, 18, 26, 24, 59, 42, 43, 64, 22, 19, 15, 27, 28, 29, 30, 33, 34, 58, 4, 6, 7, 61, 60, 20 };

/* What the storm does to a call. */
enum fault { FINE,
    BEFORE,      /* the call is lost on its way: not done, and a code that says so */
    AFTER,       /* the answer is lost on its way: done, and a code that says it was not */
    CODE,        /* any code, for no reason */
    SLOW,        /* some milliseconds late */
    HANG,        /* 300 ms late */
    SESSIONS,    /* every session is forgotten, and with the last one the login; their numbers are given out again */
    LOGGED_OUT,  /* the login is forgotten */
    HANDLES,     /* no number of an object is good any more */
    RESTART,     /* sessions, login, and the numbers of objects, which name others from now on */
    FINALIZED,   /* somebody has ended the library */
    SHRINK,      /* only few sessions for some time */
    SWAP,        /* another key is found in the place of the one that was searched */
    PRETEND,     /* the same, and it says that it has the CKA_ID that was searched */
    LENGTH,      /* the answer has a length that it cannot have */
    BLACKOUT,    /* nothing works for some milliseconds */
    WRONG_PIN,   /* the PIN is refused, once; whoever tries the same one again is counted */
    FAULTS };

struct storm {
    uint64_t seed;
    uint64_t every;              /* one call in so many is struck; 0: calm */
    uint64_t kinds;              /* a bit for each fault that may be */
    uint64_t calls;              /* counted, and with the seed what decides */
    uint64_t refused;            /* a hash of the PIN that was refused */
    uint64_t again;              /* how often that PIN was tried again */
    uint64_t strikes[FAULTS];    /* counted */
};

enum { PAGE = 4096, STORM = 2048, SKIPS = 3072, SESSION_MAX = 256 };

static void *list[1 + 68];     /* version, padded to a pointer, then the functions */
static void *real[68];
static uint64_t none[PAGE / 8];
static struct order *orders = (struct order *) none;
static struct storm *storm = (struct storm *) ((char *) none + STORM);
static uint64_t *skips = (uint64_t *) ((char *) none + SKIPS);
static long open_sessions;
static char *volatile nowhere;

/* Calls hold it for reading, what changes everything at once for writing: SoftHSM itself must not lose a session under a call. */
static pthread_rwlock_t world = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static ulong_t sessions[SESSION_MAX];      /* by number, from 1: SoftHSM's */
static ulong_t slot_used;
static uint64_t epoch, mask;               /* of the numbers of objects */
static uint64_t limit_until, black_until;  /* in milliseconds */
static uint64_t limit;
static unsigned char pretended_id[16], known_id[2][2][16];  /* of pairs, and of secrets */
static ulong_t pretender;                  /* SoftHSM's number of the object that shows `pretended_id` */
static int known[2];

#define REAL(which, types) ((rv_t (*) types) real[place[which]])

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static const rv_t lost[] = { 0x30, 0x32, 0xE0, 0xB0, 0xB3, 0x05, 0x06 };
static const rv_t codes[] = { 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x08, 0x0A, 0x11, 0x12, 0x13, 0x20, 0x21, 0x30, 0x31, 0x32, 0x40, 0x50, 0x51,
    0x54, 0x60, 0x62, 0x63, 0x68, 0x70, 0x71, 0x82, 0x90, 0x91, 0xB0, 0xB1, 0xB3, 0xB5, 0xC0, 0xC1, 0xD0, 0xD1, 0xE0, 0xE1, 0xE2, 0x100, 0x101,
    0x150, 0x190, 0x200, 0x201, 0x80000004, 0xFFFFFFFF };
/* What C_Login never answers in a storm but by WRONG_PIN: 0xA0 to 0xA4 are not among the codes. */

static ulong_t session_in(ulong_t number) {
    ulong_t found = 0;
    pthread_mutex_lock(&table);
    if (number > 0 && number < SESSION_MAX) found = sessions[number];
    pthread_mutex_unlock(&table);
    return found;
}

static ulong_t object_out(ulong_t object) { return object ? (((object - 1) ^ mask) + 1) | epoch << 24 : 0; }

static ulong_t object_in(ulong_t number) {
    if (number == 0 || number >> 24 != epoch) return 0;
    return (((number & 0xFFFFFF) - 1) ^ mask) + 1;
}

static void forget_sessions(void) {
    if (real[place[CLOSE_ALL]]) REAL(CLOSE_ALL, (ulong_t))(slot_used);
    memset(sessions, 0, sizeof sessions);
    open_sessions = 0;
}

static int happens_to(int which, enum fault fault) {
    switch (fault) {
    case FINALIZED: return which != INITIALIZE;
    case WRONG_PIN: return which == LOGIN;
    case SWAP: case PRETEND: return which == FIND_INIT;
    case LENGTH: return which == SIGN || which == ENCRYPT || which == GET || which == FIND;
    default: return 1;
    }
}

/* What befalls this call, if it is struck; what changes everything is done here. `dice` for what else there is to choose. */
static enum fault strike(int which, uint64_t *dice) {
    uint64_t every = storm->every;
    uint64_t number = __sync_add_and_fetch(&storm->calls, 1);
    *dice = mix(storm->seed ^ mix(number));
    if (every == 0) { limit = 0; black_until = 0; return FINE; }
    if (black_until && now() < black_until) return BEFORE;
    /* Rare calls with mishaps of their own. */
    int pins = which == LOGIN && storm->kinds >> WRONG_PIN & 1;
    if (which == FIND_INIT || which == LOGIN) every = pins ? 8 : 1 + every / 4;
    if (*dice % every) return FINE;
    *dice = mix(*dice);
    enum fault fault = pins && *dice & 1 ? WRONG_PIN : FINE;
    for (uint64_t i = 0; i < 64 && fault == FINE; i++) {
        enum fault next = 1 + mix(*dice + i) % (FAULTS - 1);
        if (storm->kinds >> next & 1 && happens_to(which, next)) fault = next;
    }
    __sync_fetch_and_add(&storm->strikes[fault], 1);
    switch (fault) {
    case SLOW: usleep(*dice % 3000); return FINE;
    case HANG: usleep(300000); return FINE;
    case SHRINK: limit = 1 + *dice % 3; limit_until = now() + 50; return FINE;
    case BLACKOUT: black_until = now() + 5 + *dice % 40; return BEFORE;
    case SESSIONS: case LOGGED_OUT: case HANDLES: case RESTART: case FINALIZED:
        pthread_rwlock_wrlock(&world);
        if (fault == HANDLES) epoch++;
        if (fault == RESTART) mask = *dice % 32;
        if (fault == LOGGED_OUT) {
            for (int i = 1; i < SESSION_MAX; i++) if (sessions[i]) { REAL(LOGOUT, (ulong_t))(sessions[i]); break; }
        } else if (fault == FINALIZED) {
            memset(sessions, 0, sizeof sessions);
            open_sessions = 0;
            REAL(FINALIZE, (void *))(0);
        } else if (fault != HANDLES) forget_sessions();
        pretender = 0;
        pthread_rwlock_unlock(&world);
        return FINE;
    default: return fault;
    }
}

static int told(int which, rv_t *rv, uint64_t when) {
    struct order *order = &orders[which];
    if (order->left && order->after == when + 3) {
        order->left--;
        *nowhere = 1;
    }
    if (order->left == 0 || order->after != when) return 0;
    if (skips[which]) { skips[which]--; return 0; }
    __sync_fetch_and_sub(&order->left, 1);
    *rv = order->rv;
    return 1;
}

/* `work` is done, unless the call is told or struck otherwise; `falsify` is done to a good answer whose length is to be wrong. */
#define ERR(which, work, falsify) do {                                              \
        rv_t rv;                                                                    \
        uint64_t dice;                                                              \
        __sync_fetch_and_add(&orders[which].calls, 1);                              \
        if (orders[which].delay) usleep(orders[which].delay * 1000);                \
        if (told(which, &rv, 0)) return rv;                                         \
        enum fault fault = strike(which, &dice);                                    \
        rv_t code = fault == CODE ? codes[mix(dice) % (sizeof codes / sizeof *codes)] \
                                  : lost[mix(dice) % (sizeof lost / sizeof *lost)]; \
        if (fault == CODE || fault == BEFORE) return code;                          \
        pthread_rwlock_rdlock(&world);                                              \
        rv = work;                                                                  \
        if (rv == 0 && fault == LENGTH) { falsify; }                                \
        pthread_rwlock_unlock(&world);                                              \
        told(which, &rv, 1);                                                        \
        if (fault == AFTER) return code;                                            \
        return rv;                                                                  \
    } while (0)

/* With the session's own number in the place of this device's. */
#define IN_SESSION(which, types, arguments) \
    ({ ulong_t theirs = session_in(session); theirs ? REAL(which, types) arguments : 0xB3; })

#define ERRING(which, name, types, arguments) \
    static rv_t name types { ERR(which, IN_SESSION(which, types, arguments), ); }

ERRING(SIGN_INIT, sign_init, (ulong_t session, void *mechanism, ulong_t key), (theirs, mechanism, object_in(key)))
ERRING(ENCRYPT_INIT, encrypt_init, (ulong_t session, void *mechanism, ulong_t key), (theirs, mechanism, object_in(key)))
ERRING(DECRYPT_INIT, decrypt_init, (ulong_t session, void *mechanism, ulong_t key), (theirs, mechanism, object_in(key)))
ERRING(RANDOM, generate_random, (ulong_t session, void *out, ulong_t len), (theirs, out, len))
ERRING(DESTROY, destroy, (ulong_t session, ulong_t object), (theirs, object_in(object)))
ERRING(LOGOUT, logout, (ulong_t session), (theirs))
ERRING(FIND_FINAL, find_final, (ulong_t session), (theirs))
ERRING(SESSION_INFO, session_info, (ulong_t session, void *info), (theirs, info))
ERRING(WRAP, wrap, (ulong_t session, void *mechanism, ulong_t wrapping, ulong_t key, void *out, ulong_t *out_len),
       (theirs, mechanism, object_in(wrapping), object_in(key), out, out_len))
ERRING(DECRYPT, decrypt, (ulong_t session, void *data, ulong_t len, void *out, ulong_t *out_len), (theirs, data, len, out, out_len))

#define ANYWHERE(which, name, types, arguments) \
    static rv_t name types { ERR(which, REAL(which, types) arguments, ); }

ANYWHERE(SLOT_LIST, slot_list, (unsigned char present, ulong_t *slots, ulong_t *count), (present, slots, count))
ANYWHERE(TOKEN_INFO, token_info, (ulong_t slot, void *info), (slot, info))
ANYWHERE(MECHANISM_LIST, mechanism_list, (ulong_t slot, ulong_t *mechanisms, ulong_t *count), (slot, mechanisms, count))

static ulong_t wrong_length(uint64_t dice, ulong_t len) {
    static const ulong_t lengths[] = { 0, 1, 7, 10, 31, 63, 65, 4097, 1ul << 40, ~0ul, ~0ul - 1 };
    ulong_t wrong = lengths[mix(dice + 1) % (sizeof lengths / sizeof *lengths)];
    return wrong == len ? len + 1 : wrong;
}

static rv_t encrypt(ulong_t session, void *data, ulong_t len, void *out, ulong_t *out_len) {
    ERR(ENCRYPT, IN_SESSION(ENCRYPT, (ulong_t, void *, ulong_t, void *, ulong_t *), (theirs, data, len, out, out_len)),
        *out_len = wrong_length(dice, *out_len));
}

static rv_t do_sign(ulong_t session, void *data, ulong_t len, void *out, ulong_t *out_len) {
    rv_t forged, rv = IN_SESSION(SIGN, (ulong_t, void *, ulong_t, void *, ulong_t *), (theirs, data, len, out, out_len));
    if (told(SIGN, &forged, 2)) { *out_len = forged; rv = 0; }
    return rv;
}

static rv_t sign(ulong_t session, void *data, ulong_t len, void *out, ulong_t *out_len) {
    ERR(SIGN, do_sign(session, data, len, out, out_len), *out_len = wrong_length(dice, *out_len));
}

static rv_t generate_pair(ulong_t session, void *mechanism, void *publics, ulong_t public_count, void *privates, ulong_t private_count,
                          ulong_t *one, ulong_t *other) {
    ERR(GENERATE_PAIR, ({
        rv_t made = IN_SESSION(GENERATE_PAIR, (ulong_t, void *, void *, ulong_t, void *, ulong_t, ulong_t *, ulong_t *),
                               (theirs, mechanism, publics, public_count, privates, private_count, one, other));
        if (made == 0) { *one = object_out(*one); *other = object_out(*other); }
        made;
    }), );
}

static rv_t generate(ulong_t session, void *mechanism, void *template, ulong_t count, ulong_t *key) {
    ERR(GENERATE, ({
        rv_t made = IN_SESSION(GENERATE, (ulong_t, void *, void *, ulong_t, ulong_t *), (theirs, mechanism, template, count, key));
        if (made == 0) *key = object_out(*key);
        made;
    }), );
}

static rv_t unwrap(ulong_t session, void *mechanism, ulong_t unwrapping, void *wrapped, ulong_t len, void *template, ulong_t count,
                   ulong_t *key) {
    ERR(UNWRAP, ({
        rv_t made = IN_SESSION(UNWRAP, (ulong_t, void *, ulong_t, void *, ulong_t, void *, ulong_t, ulong_t *),
                               (theirs, mechanism, object_in(unwrapping), wrapped, len, template, count, key));
        if (made == 0) *key = object_out(*key);
        made;
    }), );
}

static rv_t create(ulong_t session, void *template, ulong_t count, ulong_t *object) {
    ERR(CREATE, ({
        rv_t made = IN_SESSION(CREATE, (ulong_t, void *, ulong_t, ulong_t *), (theirs, template, count, object));
        if (made == 0) *object = object_out(*object);
        made;
    }), );
}

static rv_t do_get(ulong_t session, ulong_t object, attribute_t *attributes, ulong_t count) {
    rv_t type, rv = IN_SESSION(GET, (ulong_t, ulong_t, attribute_t *, ulong_t), (theirs, object_in(object), attributes, count));
    for (ulong_t i = 0; i < count && rv == 0; i++) {
        if (attributes[i].type == orders[GET].rv && attributes[i].value && told(GET, &type, 2)) *(unsigned char *) attributes[i].value ^= 1;
        if (attributes[i].type == 0x102 && attributes[i].value && attributes[i].len == 16 && object_in(object) == pretender && pretender)
            memcpy(attributes[i].value, pretended_id, 16);
    }
    return rv;
}

static rv_t get(ulong_t session, ulong_t object, attribute_t *attributes, ulong_t count) {
    ERR(GET, do_get(session, object, attributes, count),
        ulong_t victim = dice % (count ? count : 1); if (count) attributes[victim].len = wrong_length(dice, attributes[victim].len));
}

/* A search by CKA_ID is made one by another. */
static __thread int swapped, searched;              /* 1: a pair, 2: a secret */
static __thread unsigned char searched_id[16];

static rv_t do_find_init(ulong_t session, attribute_t *template, ulong_t count, enum fault fault) {
    attribute_t changed[8];
    swapped = searched = 0;
    if (count > 8) return 7;
    memcpy(changed, template, count * sizeof *template);
    pthread_mutex_lock(&table);
    int kind = 0;
    for (ulong_t i = 0; i < count; i++) if (template[i].type == 0) kind = *(ulong_t *) template[i].value == 4;
    for (ulong_t i = 0; i < count; i++) {
        unsigned char (*ids)[16] = known_id[kind];
        if (template[i].type != 0x102 || template[i].len != 16) continue;
        if ((fault == SWAP || fault == PRETEND) && known[kind] == 2) {
            int other = memcmp(ids[0], template[i].value, 16) == 0;
            memcpy(pretended_id, template[i].value, 16);
            changed[i].value = ids[other];
            swapped = fault == PRETEND;
        }
        searched = 1 + kind;
        memcpy(searched_id, template[i].value, 16);
    }
    pthread_mutex_unlock(&table);
    return IN_SESSION(FIND_INIT, (ulong_t, void *, ulong_t), (theirs, changed, count));
}

static rv_t find_init(ulong_t session, attribute_t *template, ulong_t count) {
    ERR(FIND_INIT, do_find_init(session, template, count, fault), );
}

static rv_t do_find(ulong_t session, ulong_t *objects, ulong_t max, ulong_t *count) {
    rv_t rv = IN_SESSION(FIND, (ulong_t, ulong_t *, ulong_t, ulong_t *), (theirs, objects, max, count));
    if (rv == 0 && swapped && *count) { pretender = objects[0]; swapped = 0; }
    if (rv == 0 && searched && *count) {
        /* The first two that are found stay; they take each other's place. */
        unsigned char (*ids)[16] = known_id[searched - 1];
        int *count_of = &known[searched - 1];
        pthread_mutex_lock(&table);
        if (*count_of == 0 || (*count_of == 1 && memcmp(ids[0], searched_id, 16))) memcpy(ids[(*count_of)++], searched_id, 16);
        pthread_mutex_unlock(&table);
    }
    for (ulong_t i = 0; rv == 0 && i < *count; i++) objects[i] = object_out(objects[i]);
    return rv;
}

static rv_t find(ulong_t session, ulong_t *objects, ulong_t max, ulong_t *count) {
    /* Too many is a length that it cannot have; too few would be another answer, and no one can tell it from the truth. */
    ERR(FIND, do_find(session, objects, max, count), *count = max + 1 + dice % 1000000);
}

static uint64_t hash(const unsigned char *bytes, ulong_t len) {
    uint64_t sum = len;
    while (len--) sum = mix(sum ^ *bytes++);
    return sum | 1;
}

/* In a storm any PIN that begins with SoftHSM's four digits is right, so that there are others once one was refused. */
static rv_t login(ulong_t session, ulong_t user, unsigned char *pin, ulong_t len) {
    int stormy = storm->every != 0;
    ERR(LOGIN, ({
        rv_t answer;
        uint64_t own = hash(pin, len);
        if (stormy && own == storm->refused) __sync_fetch_and_add(&storm->again, 1);
        if (fault == WRONG_PIN) { storm->refused = own; answer = 0xA0; }
        else answer = IN_SESSION(LOGIN, (ulong_t, ulong_t, void *, ulong_t), (theirs, user, pin, len > 4 && pin[4] == '-' ? 4 : len));
        answer;
    }), );
}

static rv_t do_open(ulong_t slot, ulong_t flags, void *application, void *notify, ulong_t *session) {
    rv_t rv = 0xB1;
    ulong_t number = 1;
    uint64_t most = orders[OPEN].limit;
    if (limit && now() < limit_until) most = limit;
    pthread_mutex_lock(&table);
    while (number < SESSION_MAX && sessions[number]) number++;
    if (number < SESSION_MAX && (most == 0 || open_sessions < (long) most)) {
        rv = REAL(OPEN, (ulong_t, ulong_t, void *, void *, ulong_t *))(slot, flags, application, notify, &sessions[number]);
        if (rv) sessions[number] = 0;
        else { open_sessions++; slot_used = slot; *session = number; }
    }
    pthread_mutex_unlock(&table);
    return rv;
}

static rv_t open_session(ulong_t slot, ulong_t flags, void *application, void *notify, ulong_t *session) {
    ERR(OPEN, do_open(slot, flags, application, notify, session), );
}

static rv_t close_session(ulong_t session) {
    ERR(CLOSE, ({
        rv_t closed = IN_SESSION(CLOSE, (ulong_t), (theirs));
        pthread_mutex_lock(&table);
        if (closed == 0) { sessions[session] = 0; open_sessions--; }
        pthread_mutex_unlock(&table);
        closed;
    }), );
}

static rv_t close_all(ulong_t slot) {
    ERR(CLOSE_ALL, ({
        pthread_mutex_lock(&table);
        memset(sessions, 0, sizeof sessions);
        open_sessions = 0;
        rv_t closed = REAL(CLOSE_ALL, (ulong_t))(slot);
        pthread_mutex_unlock(&table);
        closed;
    }), );
}

static rv_t finalize(void *reserved) {
    ERR(FINALIZE, ({
        memset(sessions, 0, sizeof sessions);
        open_sessions = 0;
        REAL(FINALIZE, (void *))(reserved);
    }), );
}

static rv_t initialize(void **args) {
    const char *path = args ? args[5] : 0;
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *map = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (map != MAP_FAILED) { orders = map; storm = (struct storm *) ((char *) map + STORM); skips = (uint64_t *) ((char *) map + SKIPS); }
        close(file);
    }
    void *copy[6];
    memcpy(copy, args, sizeof copy);
    copy[5] = 0;
    ERR(INITIALIZE, REAL(INITIALIZE, (void **))(copy), );
}

__attribute__((visibility("default"))) rv_t C_GetFunctionList(void **out) {
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    rv_t (*function)(void ***) = library ? (rv_t (*)(void ***)) dlsym(library, "C_GetFunctionList") : 0;
    void **theirs;
    rv_t rv = function ? function(&theirs) : 5;
    if (rv) return rv;
    memcpy(real, theirs + 1, sizeof real);
    memcpy(list, theirs, sizeof list);
    void *ours[COUNT] = { initialize, finalize, open_session, close_session, close_all, login, find_init, get, generate_pair, sign_init,
                          sign, generate_random, destroy, logout, session_info, find, find_final, encrypt_init, encrypt, decrypt_init, decrypt,
                          generate, slot_list, token_info, mechanism_list, unwrap, wrap, create };
    _Static_assert(sizeof(struct order) * COUNT <= STORM && sizeof(struct storm) <= SKIPS - STORM && sizeof(uint64_t) * COUNT <= PAGE - SKIPS, "a page is enough");
    for (int i = 0; i < COUNT; i++) list[1 + place[i]] = ours[i];
    *out = list;
    return 0;
}
