#!/bin/bash
# Real clients against keys at both levels:  tests/interop/run.sh [CLIENT…]
# One fixture for all; each script is cut off at its limit. The last line says "N passed, N failed".
chosen=("$@")
set -- HSM # lib.sh reads a level
. "$(dirname "$0")/lib.sh"

# client: seconds for one run: levels ("once" for a script that goes through the levels itself)
CLIENTS="documents:300:once openssl:300:both pkcs11-tool:400:both p11tool:200:both openssh:300:both osslsigncode:200:both
  java:500:both authority:300:both nginx:500:both agent:300:once tokens:300:once renewal:400:both readme:300:once c-programs:400:once p11-kit:200:both
  nss:200:both apache:200:both stunnel:200:both knot:200:both graphene:100:both pykcs11:300:both"

W=$(mktemp -d "${TMPDIR:-/tmp}/alikms-interop.XXXXXX")
chmod 755 "$W"
trap 'rm -rf "$W"' EXIT
export FIXTURE=$W/fixture REFERENCE MODULE ALIKMS
if ! make_fixture; then
  echo "FAIL - fixture"
  echo "0 passed, 1 failed"
  exit 1
fi
export TMPDIR=$W # the clients' directories go with ours, even those of a script that was cut off

for row in $CLIENTS; do
  IFS=: read -r client limit levels <<<"$row"
  [ ${#chosen[@]} = 0 ] || [[ " ${chosen[*]} " == *" $client "* ]] || continue
  [ "$levels" = both ] && levels="HSM SOFTWARE" || levels=HSM
  for level in $levels; do
    begun=$SECONDS status=0
    timeout --kill-after=20 "$limit" bash "$HERE/$client.sh" "$level" >"$W/result" 2>&1 </dev/null || status=$?
    cat "$W/result"
    good=$(grep -c '^ok - ' "$W/result") wrong=$(grep -c '^FAIL - ' "$W/result")
    if [ $status != 0 ] && [ "$wrong" = 0 ]; then
      echo "FAIL - $client $level: ended with status $status$([ $status != 124 ] || echo ", cut off after $limit s")"
      wrong=1
    fi
    GOOD=$((GOOD + good)) BAD=$((BAD + wrong))
    echo "-- $client $level: $good passed, $wrong failed, $((SECONDS - begun)) s"
  done
done
echo "$GOOD passed, $BAD failed"
[ $BAD = 0 ] && [ $GOOD -gt 0 ]
