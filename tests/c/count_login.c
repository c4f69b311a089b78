/* A device for tests: SoftHSM, with each C_Login written down as one byte in the file COUNT. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <p11-kit/pkcs11.h>

static CK_FUNCTION_LIST list;
static CK_FUNCTION_LIST *softhsm;

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG len)
{
	int file = open(COUNT, O_WRONLY | O_CREAT | O_APPEND, 0666);

	if (file < 0 || write(file, "x", 1) != 1)
		abort();
	close(file);
	return softhsm->C_Login(session, user, pin, len);
}

/* The loader wants to see that the functions are the library's own. Copies of this library share one SoftHSM. */
static CK_RV initialize(CK_VOID_PTR arguments)
{
	CK_RV rv = softhsm->C_Initialize(arguments);
	if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED && softhsm->C_Finalize(NULL) == CKR_OK)
		rv = softhsm->C_Initialize(arguments);
	return rv;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out)
{
	if (!softhsm) {
		void *library = dlopen(SOFTHSM, RTLD_NOW | RTLD_LOCAL);
		CK_C_GetFunctionList get = library ? (CK_C_GetFunctionList) dlsym(library, "C_GetFunctionList") : NULL;
		if (!get || get(&softhsm) != CKR_OK)
			return CKR_GENERAL_ERROR;
		list = *softhsm;
		list.C_Initialize = initialize;
		list.C_Login = login;
		list.C_GetFunctionList = C_GetFunctionList;
	}
	*out = &list;
	return CKR_OK;
}
