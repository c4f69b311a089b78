#!/bin/bash
# PyKCS11: its own tests, from its source distribution, on tokens of their own (PIN 1234, SO PIN 123456), each file in a process.
# python/run.py says what is changed in them and which of them ask for what we do not do, and why.
. "$(dirname "$0")/lib.sh"
python=$ROOT/target/clients/python/bin/python tests=$ROOT/target/clients/pykcs11
[ -x "$python" ] && [ -d "$tests/test" ] || die "PyKCS11 and its tests are here (ci/clients.sh)"
if [ "$REFERENCE" = 1 ]; then echo "ok - pykcs11: SoftHSM is what these tests were written for"; exit; fi

make_token() { # DIR
  "$ROOT/softhsm-conf/make-token.sh" "$W/$1" && printf 1234 >"$1/pin" && printf 123456 >"$1/so.pin" || return 1
  sed -i -E "s/^(protection_level = )\"HSM\"/\\1\"$LEVEL\"/" "$1/alikms.toml"
  ALIKMS_CONF=$W/$1/alikms.toml alikms init --pin "file:$W/$1/pin" --so-pin "file:$W/$1/so.pin"
}
# A token that has, or had, keys is not initialised anew (DESIGN §3).
for token in common empty; do check "a token of its own, $token" make_token $token || finish; done
for file in "$tests"/test/test_*.py; do
  name=$(basename "$file")
  [ "$name" = test_init.py ] && token=empty || token=common
  t 120 env ALIKMS_CONF="$W/$token/alikms.toml" PYKCS11LIB="$MODULE" "$python" "$HERE/python/run.py" "$tests" "$name" "$LEVEL" >said 2>"$W/err"
  status=$?
  [ $status = 0 ] || grep -q '^FAIL' said || bad "$name ends well (status $status)" "$W/err"
  while read -r verdict test; do
    case $verdict in ok) ok "$test" ;; FAIL) bad "$test" "$W/err" ;; esac
  done <said
done
finish
