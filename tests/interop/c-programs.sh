#!/bin/bash
# The C programs of tests/c, compiled against include/ and the system's pkcs11.h, and run against the release build: opened and
# closed again and again, forked, with output in the place of input, and linked directly. Then what the release build shows to the world.
. "$(dirname "$0")/lib.sh"
need cc pkg-config
[ "$REFERENCE" = 1 ] && { echo "ok - c-programs: not for the reference"; exit; }

read -ra flags < <(pkg-config --cflags p11-kit-1)
flags+=(-std=gnu11 -O1 -g -Wall -Wextra -Werror -I "$ROOT/include" -I "$ROOT/tests/c")
library=$(dirname "$MODULE")
compile() { # FILE
  local name; name=$(basename "$1" .c)
  case $name in
    linked*) cc "${flags[@]}" -o "$name" "$1" -L "$library" -lalikms_pkcs11 -Wl,-rpath,"$library" -lpthread -ldl ;;
    *) cc "${flags[@]}" -o "$name" "$1" -lpthread -ldl ;;
  esac
}
header_alone() { printf '#include <p11-kit/pkcs11.h>\n#include <alikms_pkcs11.h>\n#include <alikms_pkcs11.h>\nint main(void) { return 0; }\n' >header.c && compile "$W/header.c" && ./header; }
check "the header stands beside the system's pkcs11.h" header_alone

arguments() { # NAME: what each program wants on its command line
  case $1 in linked*) printf '%s\n' "$TOKEN" "$PIN" ;; dlopen*) echo "$MODULE" ;; neighbours) printf '%s\n' "$MODULE" "$TOKEN" "$PIN" "$PWD/copy.so" ;; *) printf '%s\n' "$MODULE" "$TOKEN" "$PIN" ;; esac
}
cp "$MODULE" copy.so
for name in dlopen_loop exits fork inplace linked neighbours; do [ -e "$ROOT/tests/c/$name.c" ] || bad "tests/c/$name.c is there"; done
for file in "$ROOT"/tests/c/*.c; do
  name=$(basename "$file" .c)
  grep -q '^int main(' "$file" || continue # a device for the Rust tests, which compile it themselves
  check "$name compiles without a warning" compile "$file" || continue
  mapfile -t words < <(arguments "$name")
  check "$name runs" t 120 "./$name" "${words[@]}"
done

# What the library shows to the world: C_* and nothing else, bound to itself, without anybody's libcrypto.
exported() { nm -D --defined-only "$MODULE" | awk '{print $3}' | grep -v '^C_' | tee shown; [ ! -s shown ]; }
check "exports C_* only" exported
has_doors() { local n; n=$(nm -D --defined-only "$MODULE" | grep -c ' T C_'); echo "$n"; [ "$n" = 104 ]; }
check "exports every C_* function" has_doors
unbound() { readelf -rW "$MODULE" | grep -E ' C_[A-Z]' | tee shown; [ ! -s shown ]; }
check "has no symbolic relocation to a C_* name" unbound
needed() { readelf -dW "$MODULE" | grep NEEDED | tee shown; ! grep -qE 'crypto|ssl' shown; }
check "needs neither libcrypto nor libssl" needed
pinned() { readelf -dW "$MODULE" | grep -q NODELETE; }
check "is never unloaded" pinned
finish
