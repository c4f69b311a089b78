/*
 * Output may lie where the input lies, or overlap it: PKCS#11 allows plaintext and ciphertext in the same place. Each
 * result in place must equal the one from separate buffers, and a buffer that is too small must be left as it was.
 *
 * cc -I/usr/include/p11-kit-1 inplace.c -o inplace -ldl
 * ALIKMS_CONF=... ./inplace MODULE TOKEN PIN
 */
#include "p11.h"

enum { SIZE = 4096, ROOM = SIZE + 64 };

static CK_FUNCTION_LIST_PTR p11;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key;

typedef CK_RV (*INIT)(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE);
typedef CK_RV (*RUN)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);

/* One direction: separate buffers, the same place, and the output a few bytes before and behind the input. */
static CK_ULONG every_way(CK_MECHANISM *mechanism, INIT init, RUN run, const CK_BYTE *input, CK_ULONG input_len, CK_BYTE *result)
{
    static CK_BYTE area[ROOM + 64];
    CK_ULONG len = ROOM;
    OK(init(session, mechanism, key));
    OK(run(session, (CK_BYTE_PTR)input, input_len, result, &len));
    for (int shift = -7; shift <= 7; shift += 7) {
        CK_BYTE *in = area + 16, *out = area + 16 + shift;
        CK_ULONG out_len = ROOM;
        memset(area, 0xee, sizeof area);
        memcpy(in, input, input_len);
        OK(init(session, mechanism, key));
        OK(run(session, in, input_len, out, &out_len));
        CHECK(out_len == len && !memcmp(out, result, len));
    }
    if (len) {
        memset(area, 0xee, sizeof area);
        memcpy(area, input, input_len);
        CK_ULONG small = len - 1, needed = len;
        OK(init(session, mechanism, key));
        CK_RV rv = run(session, area, input_len, area, &small);
        /* The exact size, or for a decryption that keeps its padding to itself until the end an upper bound. */
        CHECK(rv == CKR_BUFFER_TOO_SMALL && small >= needed && small <= ROOM);
        CHECK(!memcmp(area, input, input_len) && area[input_len] == 0xee);
        OK(run(session, area, input_len, area, &small));
        CHECK(small == len && !memcmp(area, result, len));
    }
    return len;
}

static void both_ways(const char *name, CK_MECHANISM mechanism, CK_ULONG size)
{
    static CK_BYTE plain[SIZE], sealed[ROOM], opened[ROOM];
    for (CK_ULONG i = 0; i < size; i++)
        plain[i] = (CK_BYTE)(i * 31 + 7);
    CK_ULONG sealed_len = every_way(&mechanism, p11->C_EncryptInit, p11->C_Encrypt, plain, size, sealed);
    CK_ULONG opened_len = every_way(&mechanism, p11->C_DecryptInit, p11->C_Decrypt, sealed, sealed_len, opened);
    CHECK(opened_len == size && !memcmp(opened, plain, size));
    printf("%s: %lu bytes ok\n", name, size);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: inplace MODULE TOKEN PIN\n");
        return 2;
    }
    p11 = load(argv[1], NULL);
    OK(p11->C_Initialize(NULL));
    session = open_session(p11, slot_of(p11, argv[2]), argv[3]);

    CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG key_len = 32;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE wanted[] = {{CKA_VALUE_LEN, &key_len, sizeof key_len},
                             {CKA_TOKEN, &no, sizeof no},
                             {CKA_ENCRYPT, &yes, sizeof yes},
                             {CKA_DECRYPT, &yes, sizeof yes}};
    OK(p11->C_GenerateKey(session, &generate, wanted, 4, &key));

    CK_BYTE iv[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, aad[5] = "aad";
    CK_AES_CTR_PARAMS ctr = {.ulCounterBits = 128};
    CK_GCM_PARAMS gcm = {.pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .pAAD = aad, .ulAADLen = 3, .ulTagBits = 128};
    memcpy(ctr.cb, iv, sizeof iv);
    both_ways("CKM_AES_ECB", (CK_MECHANISM){CKM_AES_ECB, NULL, 0}, SIZE);
    both_ways("CKM_AES_CBC", (CK_MECHANISM){CKM_AES_CBC, iv, sizeof iv}, SIZE);
    both_ways("CKM_AES_CBC_PAD", (CK_MECHANISM){CKM_AES_CBC_PAD, iv, sizeof iv}, SIZE - 3);
    both_ways("CKM_AES_CTR", (CK_MECHANISM){CKM_AES_CTR, &ctr, sizeof ctr}, SIZE - 5);
    both_ways("CKM_AES_GCM", (CK_MECHANISM){CKM_AES_GCM, &gcm, sizeof gcm}, SIZE - 1);

    OK(p11->C_Finalize(NULL));
    puts("ok");
    return 0;
}
