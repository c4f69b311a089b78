#!/bin/bash
# osslsigncode: a PE file signed with key, certificate and chain from the token, and verified.
. "$(dirname "$0")/lib.sh"
need osslsigncode openssl python3
engine=$(openssl version -e | cut -d'"' -f2)/pkcs11.so
[ -s "$engine" ] || die "libengine-pkcs11-openssl is here"

python3 "$HERE/program.py" program.exe

sign() { rm -f signed.exe; t 60 osslsigncode sign -pkcs11engine "$engine" -pkcs11module "$MODULE" -pass "$PIN" "$@" -n "alikms test" -in program.exe -out signed.exe; }
# osslsigncode asks the chain of a code signer to end in the given root, and says so only in its text.
verified() {
  osslsigncode verify -CAfile "$FIXTURE/ca/root.pem" -TSA-CAfile "$FIXTURE/ca/root.pem" -in signed.exe >verdict 2>&1
  local status=$?
  tail -n 12 verdict
  [ $status = 0 ] && grep -qiE 'Signature verification: ok|^Succeeded' verdict
}
# A second judge: the CMS inside, with the public key of the certificate that we issued.
same_signer() { rm -f sig.pem one-*; osslsigncode extract-signature -pem -in signed.exe -out sig.pem >/dev/null && plain pkcs7 -in sig.pem -print_certs -out certs.pem && plain x509 -in "$(of "$1" crt)" -outform DER -out want.der &&
  csplit -s -z -f one- certs.pem '/^subject=/' '{*}' && for one in one-*; do plain x509 -in "$one" -outform DER -out got.der && cmp -s got.der want.der && return 0; done; return 1; }
from_file() { cat "$(of "$1" crt)" "$FIXTURE/ca/sub.pem" >chain.pem; sign -certs chain.pem -key "$(uri "$1")" -h "$2" && verified && same_signer "$1"; }
for key in rsa p256; do check "PE, certificates from a file, $key" from_file $key sha256; done
check "PE, SHA-384" from_file rsa sha384
from_token() { sign -pkcs11cert "pkcs11:token=$TOKEN;object=$(label "$1");type=cert" -certs "$FIXTURE/ca/sub.pem" -key "$(uri "$1")" -h sha256 && verified && same_signer "$1"; }
for key in rsa p256; do check "PE, certificate from the token, $key" from_token $key; done
by_id() { cat "$(of rsa crt)" "$FIXTURE/ca/sub.pem" >chain.pem; sign -certs chain.pem -key "$(uri_by_id rsa)" -h sha256 && verified; }
check "PE, key by id" by_id
tampered() { from_file rsa sha256 >/dev/null && printf '\x90' | dd of=signed.exe bs=1 seek=513 conv=notrunc status=none && ! verified; }
check "a changed byte is found" tampered
finish
