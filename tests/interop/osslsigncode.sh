#!/bin/bash
# osslsigncode: a PE file signed with key, certificate and chain from the token, and verified.
. "$(dirname "$0")/lib.sh"
need osslsigncode openssl python3
engine=$(openssl version -e | cut -d'"' -f2)/pkcs11.so
[ -s "$engine" ] || die "libengine-pkcs11-openssl is here"

# The smallest 64-bit executable: one section whose code is `ret`.
python3 - program.exe <<'PY'
import struct, sys
section = b".text".ljust(8, b"\0") + struct.pack("<6I2HI", 1, 0x1000, 512, 512, 0, 0, 0, 0, 0x60000020)
optional = struct.pack("<H2B5I", 0x20B, 14, 0, 512, 0, 0, 0x1000, 0x1000)
optional += struct.pack("<Q2I6H4I2H4Q2I", 0x140000000, 0x1000, 512, 6, 0, 0, 0, 6, 0, 0, 0x2000, 512, 0, 3, 0x8160, 1 << 20, 1 << 12, 1 << 20, 1 << 12, 0, 16)
optional += bytes(16 * 8)
header = b"PE\0\0" + struct.pack("<2H3I2H", 0x8664, 1, 0, 0, 0, len(optional), 0x22) + optional + section
dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80)
open(sys.argv[1], "wb").write((dos.ljust(0x80, b"\0") + header).ljust(512, b"\0") + b"\xc3".ljust(512, b"\0"))
PY

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
