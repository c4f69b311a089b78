#!/bin/bash
# PyKCS11: its own tests, from its source distribution, on a token of their own (PIN 1234, SO PIN 123456), each file in a process.
# python/run.py says what is changed in them and which of them ask for what we do not do, and why.
. "$(dirname "$0")/lib.sh"
python=$ROOT/target/clients/python/bin/python tests=$ROOT/target/clients/pykcs11
[ -x "$python" ] && [ -d "$tests/test" ] || die "PyKCS11 and its tests are here (ci/clients.sh)"
if [ "$REFERENCE" = 1 ]; then echo "ok - pykcs11: SoftHSM is what these tests were written for"; exit; fi

make_token() {
  "$ROOT/softhsm-conf/make-token.sh" "$W/own" && printf 1234 >own/pin && printf 123456 >own/so.pin || return 1
  sed -i -E "s/^(protection_level = )\"HSM\"/\\1\"$LEVEL\"/; s/^\\[\\[token\\]\\]/&\\ndestroy = \"immediate\"/" own/alikms.toml
  ALIKMS_CONF=$W/own/alikms.toml alikms init --pin "file:$W/own/pin" --so-pin "file:$W/own/so.pin"
}
check "a token of its own" make_token || finish
for file in "$tests"/test/test_*.py; do
  name=$(basename "$file")
  t 120 env ALIKMS_CONF="$W/own/alikms.toml" PYKCS11LIB="$MODULE" "$python" "$HERE/python/run.py" "$tests" "$name" "$LEVEL" >said 2>"$W/err"
  status=$?
  [ $status = 0 ] || grep -q '^FAIL' said || bad "$name ends well (status $status)" "$W/err"
  while read -r verdict test; do
    case $verdict in ok) ok "$test" ;; FAIL) bad "$test" "$W/err" ;; esac
  done <said
done
finish
