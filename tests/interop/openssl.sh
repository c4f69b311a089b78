#!/bin/bash
# The openssl command through libengine-pkcs11-openssl: signatures, decryption, requests, CMS.
. "$(dirname "$0")/lib.sh"
need openssl
engine_conf "$W/openssl.cnf"
engine() { OPENSSL_CONF=$W/openssl.cnf t 30 openssl "$@"; }
KEY="-engine pkcs11 -keyform engine"
PSS="-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest"
head -c 5000 /dev/urandom >data
head -c 32 /dev/urandom >secret

# The public key that we answer is the one in the certificate that the CA signed.
same_key() { plain x509 -in "$(of "$1" crt)" -noout -pubkey | plain pkey -pubin -outform DER -out a.der && plain pkey -pubin -in "$(of "$1" pub)" -outform DER -out b.der && cmp a.der b.der; }
for key in rsa p256; do check "GetPublicKey is the certificate's ($key)" same_key $key; done

# shellcheck disable=SC2086 # option lists
dgst() { # DIGEST KEY-NAME URI [options of both sides]
  rm -f sig
  engine dgst "-$1" $KEY -sign "$3" "${@:4}" -out sig data && plain dgst "-$1" -verify "$(of "$2" pub)" "${@:4}" -signature sig data
}
for hash in sha224 sha256 sha384 sha512; do
  for key in rsa p256 p384; do check "dgst -$hash $key" dgst $hash $key "$(uri $key)"; done
done
check "dgst -sha256 k256 (secp256k1)" dgst sha256 k256 "$(uri k256)"
# shellcheck disable=SC2086
for hash in sha256 sha384 sha512; do check "dgst -$hash rsa PSS" dgst $hash rsa "$(uri rsa)" $PSS; done
check "dgst by id=" dgst sha256 rsa "$(uri_by_id rsa)"
check "dgst by id= (p384)" dgst sha384 p384 "$(uri_by_id p384)"
refused "dgst with a changed message" eval 'dgst sha256 p256 "$(uri p256)" && echo x >>data && plain dgst -sha256 -verify "$(of p256 pub)" -signature sig data'

# Without any openssl.cnf of ours: module from the environment, PIN in the URI.
without_conf() {
  OPENSSL_CONF=/etc/ssl/openssl.cnf PKCS11_MODULE_PATH=$MODULE t 30 openssl dgst -sha256 -engine pkcs11 -keyform engine -sign "$(with_pin "$(uri p256)")" -out sig data &&
    plain dgst -sha256 -verify "$(of p256 pub)" -signature sig data
}
check "PKCS11_MODULE_PATH and pin-value" without_conf
refused "a wrong PIN" env OPENSSL_CONF=/etc/ssl/openssl.cnf PKCS11_MODULE_PATH="$MODULE" timeout 30 openssl dgst -sha256 -engine pkcs11 -keyform engine \
  -sign "$(uri p256);pin-value=not-this-one" -out wrong data

pkeyutl_sign() { # KEY DIGEST [options]
  plain dgst "-$2" -binary -out digest data
  # shellcheck disable=SC2086
  engine pkeyutl $KEY -inkey "$(uri "$1")" -sign "${@:3}" -in digest -out sig && plain pkeyutl -verify -pubin -inkey "$(of "$1" pub)" "${@:3}" -in digest -sigfile sig
}
check "pkeyutl -sign PKCS#1 v1.5" pkeyutl_sign rsa sha256 -pkeyopt digest:sha256
check "pkeyutl -sign PSS" pkeyutl_sign rsa sha384 -pkeyopt digest:sha384 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest
check "pkeyutl -sign ECDSA P-256" pkeyutl_sign p256 sha256
check "pkeyutl -sign ECDSA P-384" pkeyutl_sign p384 sha384

decrypt() { # options
  rm -f opened
  # shellcheck disable=SC2086
  plain pkeyutl -encrypt -pubin -inkey "$(of dec pub)" "$@" -in secret -out sealed && engine pkeyutl $KEY -inkey "$(uri dec)" -decrypt "$@" -in sealed -out opened && cmp secret opened
}
OAEP="-pkeyopt rsa_padding_mode:oaep"
# shellcheck disable=SC2086
check "pkeyutl -decrypt OAEP SHA-1" decrypt $OAEP
# libp11 answers an OAEP hash that SoftHSM lacks with raw RSA and its own unpadding; through us the mechanism itself works.
# shellcheck disable=SC2086
for hash in sha256 sha384 sha512; do check "pkeyutl -decrypt OAEP $hash" decrypt $OAEP -pkeyopt rsa_oaep_md:$hash -pkeyopt rsa_mgf1_md:$hash; done

request() { # KEY SUBJECT
  # shellcheck disable=SC2086
  engine req -new $KEY -key "$(uri "$1")" -subj "/O=alikms tests/CN=$1" -sha256 -out csr.pem && plain req -in csr.pem -noout -verify &&
    plain req -in csr.pem -noout -pubkey | plain pkey -pubin -outform DER -out a.der && plain pkey -pubin -in "$(of "$1" pub)" -outform DER -out b.der && cmp a.der b.der
}
for key in rsa p256 p384 k256; do check "req -new $key" request $key; done
# shellcheck disable=SC2086
self_signed() { engine req -x509 $KEY -key "$(uri "$1")" -subj "/CN=self $1" -days 5 -out self.pem && plain verify -check_ss_sig -CAfile self.pem self.pem; }
for key in rsa p256; do check "req -x509 $key" self_signed $key; done
as_authority() {
  self_signed p256 && plain req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -subj "/CN=leaf" -out leaf.csr &&
    engine x509 -req -in leaf.csr -engine pkcs11 -CAkeyform engine -CA self.pem -CAkey "$(uri p256)" -CAcreateserial -days 5 -out leaf.pem && plain verify -CAfile self.pem leaf.pem
}
check "x509 -req -CAkey p256" as_authority

cms() { # KEY [options]
  # shellcheck disable=SC2086
  engine cms -sign -binary -nodetach -md sha256 -in data -signer "$(of "$1" crt)" -certfile "$FIXTURE/ca/sub.pem" $KEY -inkey "$(uri "$1")" "${@:2}" -outform DER -out cms.der &&
    plain cms -verify -binary -inform DER -in cms.der -CAfile "$FIXTURE/ca/root.pem" -out plain && cmp plain data
}
for key in rsa p256; do check "cms -sign $key" cms $key; done
check "cms -sign rsa PSS" cms rsa -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:digest
finish
