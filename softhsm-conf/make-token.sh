#!/bin/bash
# Makes a throw-away SoftHSM token for trials and tests, with everything beside it that alikms needs:
#   softhsm-conf/make-token.sh DIR [--group GROUP] [--label LABEL]
#       DIR/softhsm2.conf DIR/tokens/   the token (label alikms-hsm)
#       DIR/device.pin DIR/device-so.pin  its PINs, random; DIR/pin DIR/so.pin  PINs for `alikms init`; all 0640
#       DIR/alikms.toml                 a configuration that uses it
#   softhsm-conf/make-token.sh DIR [--group GROUP] --share
#       lets the group use the keys that have been made since: SoftHSM writes each key file readable by its owner only
# With a group (www-data, for nginx) everything is readable by it. Idempotent: what exists is kept. Not for production keys.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage() { sed -n '2,9s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }

dir="" group="" label=alikms-hsm share=0
while [ $# -gt 0 ]; do
  case $1 in
    --group) group=${2:?--group needs a name}; shift ;;
    --label) label=${2:?--label needs a name}; shift ;;
    --share) share=1 ;;
    -*) usage ;;
    *) [ -z "$dir" ] || usage; dir=$1 ;;
  esac
  shift
done
[ -n "$dir" ] || usage

share() {
  [ -n "$group" ] || return 0
  chgrp -R "$group" "$dir/tokens"
  find "$dir/tokens" -type d -exec chmod 2770 {} + -o -type f -exec chmod 660 {} +
}
if [ $share = 1 ]; then share; exit; fi

library=""
for at in "${SOFTHSM_LIBRARY:-}" /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so; do
  [ -n "$at" ] && [ -e "$at" ] && { library=$at; break; }
done
[ -n "$library" ] || { echo "error: libsofthsm2.so is not here: apt-get install softhsm2 (or set SOFTHSM_LIBRARY)" >&2; exit 1; }

umask 027
mkdir -p "$dir/tokens"
dir=$(cd "$dir" && pwd)
secret() { # FILE: 16 random digits and letters, written once
  [ -s "$1" ] || od -An -N8 -tx1 /dev/urandom | tr -d ' \n' >"$1"
  chmod 640 "$1"
}
from_template() { # TEMPLATE FILE
  [ -e "$2" ] || sed -e "s|@DIR@|$dir|g" -e "s|@LIBRARY@|$library|g" -e "s|@LABEL@|$label|g" "$1" >"$2"
}
for name in device device-so; do secret "$dir/$name.pin"; done
secret "$dir/pin"; secret "$dir/so.pin"
from_template "$here/softhsm2.conf.in" "$dir/softhsm2.conf"
from_template "$here/alikms.toml.in" "$dir/alikms.toml"
if [ -n "$group" ]; then
  chgrp "$group" "$dir" "$dir"/*.pin "$dir/pin" "$dir/softhsm2.conf" "$dir/alikms.toml"
  chgrp "$(id -g)" "$dir/device-so.pin" "$dir/so.pin" # no server ever needs these
  chmod 2750 "$dir"
fi

export SOFTHSM2_CONF=$dir/softhsm2.conf
if ! softhsm2-util --show-slots | grep -qE "^ *Label: +$label *\$"; then
  softhsm2-util --init-token --free --label "$label" --pin "$(cat "$dir/device.pin")" --so-pin "$(cat "$dir/device-so.pin")" >/dev/null
fi
share
