/*
 * Loads, initialises, finalises and unloads the module again and again, as engines and p11-kit do. It must stay mapped
 * (-z nodelete), start no thread, keep no file open, and not grow.
 *
 * cc -I/usr/include/p11-kit-1 dlopen_loop.c -o dlopen_loop -ldl
 * ALIKMS_CONF=... ./dlopen_loop MODULE [ROUNDS]
 */
#include <dirent.h>
#include "p11.h"

/* A number from /proc/self/status: "VmRSS:" in KiB, "Threads:". */
static long status(const char *name)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file);
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            value = strtol(line + strlen(name), NULL, 10);
    fclose(file);
    return value;
}

static int open_files(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: dlopen_loop MODULE [ROUNDS]\n");
        return 2;
    }
    long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 200, memory = 0;
    int files = open_files();
    CK_FUNCTION_LIST first;
    CK_FUNCTION_LIST_PTR place = NULL;
    for (long i = 0; i < rounds; i++) {
        void *handle = NULL;
        CK_FUNCTION_LIST_PTR p11 = load(argv[1], &handle);
        CK_INFO info;
        CK_ULONG count = 0;
        if (i == 0) {
            place = p11;
            first = *p11;
        }
        CHECK(p11 == place && !memcmp(p11, &first, sizeof first));
        RV(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
        OK(p11->C_Initialize(NULL));
        OK(p11->C_GetInfo(&info));
        CHECK(info.cryptokiVersion.major == p11->version.major && info.cryptokiVersion.minor == p11->version.minor);
        OK(p11->C_GetSlotList(CK_FALSE, NULL, &count));
        RV(p11->C_Finalize(&count), CKR_ARGUMENTS_BAD);
        OK(p11->C_Finalize(NULL));
        CHECK(!dlclose(handle));
        /* Still there: threads and handlers may refer to it. */
        RV(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
        if (i == rounds / 2)
            memory = status("VmRSS:");
    }
    long growth = status("VmRSS:") - memory;
    printf("%ld rounds, %ld KiB more in the second half\n", rounds, growth);
    CHECK(growth < 16 * (rounds / 2 + 1));
    CHECK(status("Threads:") == 1);
    CHECK(open_files() == files);
    puts("ok");
    return 0;
}
