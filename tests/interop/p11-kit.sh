#!/bin/bash
# p11-kit: our module by its module file, through the proxy, in a process of its own (`remote:`), and behind `p11-kit server`.
. "$(dirname "$0")/lib.sh"
need p11-kit pkcs11-tool openssl
find_one() { local file; for file in "$@"; do [ -e "$file" ] && { echo "$file"; return; }; done; return 1; }
PROXY=$(find_one /usr/lib/*/p11-kit-proxy.so) && CLIENT_MODULE=$(find_one /usr/lib/*/pkcs11/p11-kit-client.so) || die "p11-kit's proxy and client are here"

# p11-kit reads module files of a user, but not of root: root works as the servers' user here. What the system has is switched off.
mkdir -p home/.config/pkcs11/modules run signed
for file in /usr/share/p11-kit/modules/*.module /etc/pkcs11/modules/*.module; do
  [ ! -e "$file" ] || echo "enable-in: nobody" >"home/.config/pkcs11/modules/$(basename "$file")"
done
module_file() { printf '%s\n' "$1" "critical: yes" >home/.config/pkcs11/modules/alikms.module; }
if [ -n "$WORKER" ]; then chown -R "$WORKER" home run signed; fi
as_user() { t 60 ${WORKER:+setpriv --reuid="$WORKER" --regid="$WORKER" --init-groups} env HOME="$W/home" XDG_CONFIG_HOME="$W/home/.config" XDG_RUNTIME_DIR="$W/run" "$@"; }

# The mechanisms are those that p11-kit 0.24 carries over a socket: of ECDSA and PSS, only what takes the digest.
head -c 5000 /dev/urandom >data; plain dgst -sha256 -binary -out digest data
sign() { # MODULE KEY MECHANISM FILE-TO-SIGN FILE
  local more=()
  case $3 in ECDSA) more=(--signature-format openssl) ;; *PSS) more=(--hash-algorithm SHA256 --mgf MGF1-SHA256) ;; esac
  as_user pkcs11-tool --module "$1" --token-label "$TOKEN" --login --pin "$PIN" --sign -m "$3" --id "$(cat "$(of "$2" cka)")" -i "$W/$4" -o "$W/signed/$5" ${more[@]+"${more[@]}"}
}
signed_by() { # MODULE KEY MECHANISM FILE-TO-SIGN [options of dgst -verify]
  rm -f signed/one
  sign "$1" "$2" "$3" "$4" one && plain dgst -sha256 "${@:5}" -verify "$(of "$2" pub)" -signature signed/one data
}
works_through() { # NAME MODULE
  check "$1: signs with RSA" signed_by "$2" rsa SHA256-RSA-PKCS data
  check "$1: signs with RSA-PSS" signed_by "$2" rsa RSA-PKCS-PSS digest -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest
  check "$1: signs with P-256" signed_by "$2" p256 ECDSA digest
  objects() { as_user pkcs11-tool --module "$1" --token-label "$TOKEN" --login --pin "$PIN" -O 2>/dev/null | tee shown && grep -q "label: *$(label p256)\$" shown && grep -q "Certificate Object" shown; }
  check "$1: lists objects" objects "$2"
  at_once() {
    local pid pids=() number
    for number in 1 2 3 4 5 6; do sign "$1" p256 ECDSA digest "$number" & pids+=($!); done
    for pid in "${pids[@]}"; do wait "$pid" || return 1; done
    for number in 1 2 3 4 5 6; do plain dgst -sha256 -verify "$(of p256 pub)" -signature "signed/$number" data || return 1; done
  }
  check "$1: six clients at once" at_once "$2"
  wrong() { as_user pkcs11-tool --module "$1" --token-label "$TOKEN" --login --pin not-this-one -O >shown 2>&1; cat shown; grep -q CKR_PIN_INCORRECT shown; }
  check "$1: a wrong PIN is CKR_PIN_INCORRECT" wrong "$2"
}

module_file "module: $MODULE"
listed() { as_user p11-kit list-modules | tee shown && grep -q "^alikms: " shown && grep -qE "token: $TOKEN\$" shown; }
check "list-modules" listed
works_through proxy "$PROXY"

module_file "remote: |$(command -v p11-kit) remote $MODULE"
check "list-modules of a remote module" listed
check "remote: signs with RSA" signed_by "$PROXY" rsa SHA256-RSA-PKCS data
check "remote: signs with P-256" signed_by "$PROXY" p256 ECDSA digest
rm home/.config/pkcs11/modules/alikms.module

# The server offers the token, with whatever PIN its clients bring, on a socket.
bg ${WORKER:+setpriv --reuid="$WORKER" --regid="$WORKER" --init-groups} env HOME="$W/home" XDG_RUNTIME_DIR="$W/run" p11-kit server --foreground --name "$W/run/socket" --provider "$MODULE" "pkcs11:token=$TOKEN"
for _ in {1..50}; do [ -S run/socket ] && break; sleep 0.1; done
export P11_KIT_SERVER_ADDRESS=unix:path=$W/run/socket
works_through server "$CLIENT_MODULE"
right_after_wrong() { alikms status >shown; cat shown; pt --login --pin "$PIN" -O >/dev/null; }
check "the right PIN still logs in" right_after_wrong
finish
