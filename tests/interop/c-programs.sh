#!/bin/bash
# The C programs of tests/c, compiled against include/alikms_pkcs11.h and the system's pkcs11.h, then run at both levels:
#   PROGRAM MODULE TOKEN PIN LABEL-OF-RSA-KEY LABEL-OF-EC-KEY       exit status 0 is success
# A program whose name begins with "linked" is linked against the library instead of opening it. Files named faulty*.c are
# devices for the Rust tests and are compiled only.
. "$(dirname "$0")/lib.sh"
need cc pkg-config
[ "$REFERENCE" = 1 ] && { echo "ok - c-programs: not for the reference"; exit; }

read -ra flags < <(pkg-config --cflags p11-kit-1)
compile() { # FILE
  local name; name=$(basename "$1" .c)
  case $name in
    faulty*) cc -std=gnu11 -O1 -g -Wall -Wextra -Werror -fPIC -shared "${flags[@]}" -I "$ROOT/include" -o "$name.so" "$1" -ldl ;;
    linked*) cc -std=gnu11 -O1 -g -Wall -Wextra -Werror "${flags[@]}" -I "$ROOT/include" -o "$name" "$1" -L "$(dirname "$MODULE")" -lalikms_pkcs11 -Wl,-rpath,"$(dirname "$MODULE")" -lpthread -ldl ;;
    *) cc -std=gnu11 -O1 -g -Wall -Wextra -Werror "${flags[@]}" -I "$ROOT/include" -o "$name" "$1" -lpthread -ldl ;;
  esac
}
header_alone() { printf '#include <p11-kit/pkcs11.h>\n#include <alikms_pkcs11.h>\n#include <alikms_pkcs11.h>\nint main(void) { return 0; }\n' >header.c && compile "$W/header.c" && ./header; }
check "the header stands beside the system's pkcs11.h" header_alone

shopt -s nullglob
files=("$ROOT"/tests/c/*.c)
[ ${#files[@]} -gt 0 ] || die "tests/c has programs"
for file in "${files[@]}"; do
  name=$(basename "$file" .c)
  check "$name compiles without a warning" compile "$file" || continue
  [ -x "$name" ] || continue
  for prefix in hsm sw; do
    check "$name with the $prefix keys" t 120 "./$name" "$MODULE" "$TOKEN" "$PIN" "$prefix-rsa" "$prefix-p256"
  done
done

# What the library shows to the world: C_* and nothing else, bound to itself, without anybody's libcrypto.
exported() { nm -D --defined-only "$MODULE" | awk '{print $3}' | grep -v '^C_' | tee shown; [ ! -s shown ]; }
check "exports C_* only" exported
has_doors() { local n; n=$(nm -D --defined-only "$MODULE" | grep -c ' T C_'); echo "$n"; [ "$n" -ge 68 ]; }
check "exports every C_* function" has_doors
unbound() { readelf -rW "$MODULE" | grep -E ' C_[A-Z]' | tee shown; [ ! -s shown ]; }
check "has no symbolic relocation to a C_* name" unbound
needed() { readelf -dW "$MODULE" | grep NEEDED | tee shown; ! grep -qE 'crypto|ssl' shown; }
check "needs neither libcrypto nor libssl" needed
pinned() { readelf -dW "$MODULE" | grep -q NODELETE; }
check "is never unloaded" pinned
finish
