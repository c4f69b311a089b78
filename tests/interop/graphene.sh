#!/bin/bash
# Node: graphene-pk11 (over pkcs11js) finds keys, signs, decrypts, makes, wraps and derives; node's own crypto is the judge.
. "$(dirname "$0")/lib.sh"
need node
packages=$ROOT/target/clients/node/node_modules
[ -d "$packages/graphene-pk11" ] || die "graphene-pk11 is here (ci/clients.sh)"
token_at_level "$LEVEL"
t 120 env NODE_PATH="$packages" node "$HERE/node/token.js" "$MODULE" "$TOKEN" "$PIN" \
  "$(label rsa)" "$(of rsa pub)" "$(label p256)" "$(of p256 pub)" "$(label dec)" "$(of dec pub)" >said 2>"$W/err"
status=$?
while read -r verdict name; do
  case $verdict in ok) ok "$name" ;; FAIL) bad "$name" "$W/err" ;; esac
done <said
[ $status = 0 ] || grep -q '^FAIL' said || bad "the program ends well (status $status)" "$W/err"
finish
