#!/bin/bash
# The documents' own commands, word for word, `alikms` standing for the cloud's: asymmetric signing (S003, repeated in
# S004-132…136) and encryption (S004-122…131). Names of checks carry the statements' numbers.
. "$(dirname "$0")/lib.sh"
need openssl jq
openssl() { plain "$@"; }
if [ "$REFERENCE" = 1 ]; then echo "ok - documents: not for the reference"; exit; fi

field() { jq -er "$1" answer; }                          # of the last JSON answer
answers() { "$@" >answer && cat answer; }
fields_are() { [ "$(jq -r 'keys | join(" ")' answer)" = "$1" ] || { jq -r keys answer; return 1; }; }
refused_as() { # CODE COMMAND…
  local status=0
  "${@:2}" >answer 2>&1 || status=$?
  cat answer; [ $status != 0 ] && [ $status -lt 124 ] && grep -qE "$1" answer
}

# ssh-agent dies of secp256k1 keys on a token (openssh.sh), so what was made here goes away again.
at_end() { local key; for key in *.key; do [ ! -s "$key" ] || alikms ScheduleKeyDeletion --KeyId "$(cat "$key")" --PendingWindowInDays 7 >/dev/null; done; }

# --- create
create() { # NAME SPEC COMMAND…
  answers "${@:3}" && field .RequestId >/dev/null || return 1
  [ "$(field .KeyMetadata.KeySpec)" = "$2" ] && [ "$(field .KeyMetadata.ProtectionLevel)" = HSM ] && [ "$(field .KeyMetadata.KeyState)" = Enabled ] || return 1
  field .KeyMetadata.KeyUsage && field .KeyMetadata.KeyId >"$1.key" || return 1
  answers alikms ListKeyVersions --KeyId="$(cat "$1.key")" && field '.KeyVersions.KeyVersion[0].KeyVersionId' >"$1.version"
}
check "s003_003 s004_132 CreateKey RSA_2048" create rsa RSA_2048 alikms CreateKey --KeySpec=RSA_2048 --KeyUsage=SIGN/VERIFY --ProtectionLevel=HSM || finish
check "s003_004 s004_132 CreateKey EC_P256" create ec_p256 EC_P256 alikms CreateKey --KeySpec=EC_P256 --KeyUsage=SIGN/VERIFY --ProtectionLevel=HSM || finish
check "s003_005 s004_132 CreateKey EC_P256K" create ec_p256k EC_P256K alikms CreateKey --KeySpec=EC_P256K --KeyUsage=SIGN/VERIFY --ProtectionLevel=HSM || finish
id() { cat "$1.key"; }
version() { cat "$1.version"; }

# --- digest
echo "this is message" > message-file.txt
digest() { openssl dgst -sha256 -binary -out message-sha256.bin  message-file.txt && [ "$(stat -c %s message-sha256.bin)" = 32 ]; }
check "s003_009 s003_010 the digest has 32 bytes" digest
DIGEST=uCx5YpLfBrqoYMP8Hf9H7j9/1zT+PPxq1qJRW6uQbos=
same_digest() { openssl base64 -in message-sha256.bin | tee shown && [ "$(cat shown)" = $DIGEST ]; }
check "s003_011 the digest in Base64" same_digest

# --- sign
sign() { # KEY ALGORITHM FILE
  answers alikms AsymmetricSign --KeyId="$(id "$1")" --KeyVersionId="$(version "$1")" --Algorithm="$2" --Digest=$DIGEST || return 1
  fields_are "KeyId KeyVersionId RequestId Value" && [ "$(field .KeyVersionId)" = "$(version "$1")" ] && [ "$(field .KeyId)" = "$(id "$1")" ] || return 1
  field .Value >value && [ "$(wc -l <value)" = 1 ] || return 1
  # shellcheck disable=SC2046 # as the document has it
  echo $(cat value) | openssl base64 -d -out "$3"
}
check "s003_012…015 RSA_PSS_SHA_256" sign rsa RSA_PSS_SHA_256 rsa_pss_signature.bin
check "s003_016 RSA_PKCS1_SHA_256" sign rsa RSA_PKCS1_SHA_256 rsa_pkcs1_signature.bin
check "s003_017 ECDSA_SHA_256 with EC_P256" sign ec_p256 ECDSA_SHA_256 ec_p256_signature.bin
check "s003_018 ECDSA_SHA_256 with EC_P256K" sign ec_p256k ECDSA_SHA_256 ec_p256k_signature.bin
is_der() { openssl asn1parse -inform DER -in "$1" | tee shown && [ "$(grep -c INTEGER shown)" = 2 ]; }
for key in ec_p256 ec_p256k; do check "s003_019 the signature is DER, $key" is_der ${key}_signature.bin; done
SHA384=$(openssl dgst -sha384 -binary message-file.txt | base64 -w 0)
for pair in rsa:RSA_PSS_SHA_256 rsa:RSA_PKCS1_SHA_256 ec_p256:ECDSA_SHA_256 ec_p256k:ECDSA_SHA_256; do
  IFS=: read -r key algorithm <<<"$pair"
  check "s003_008 s004_133 $algorithm refuses a SHA-384 digest, $key" refused_as InvalidParameter alikms AsymmetricSign --KeyId="$(id "$key")" --KeyVersionId="$(version "$key")" --Algorithm="$algorithm" --Digest="$SHA384"
done
for pair in rsa:ECDSA_SHA_256 ec_p256:RSA_PSS_SHA_256 ec_p256k:RSA_PKCS1_SHA_256; do
  IFS=: read -r key algorithm <<<"$pair"
  check "s003_020 $algorithm is refused for $key" refused_as 'InvalidParameter|UnsupportedOperation' alikms AsymmetricSign --KeyId="$(id "$key")" --KeyVersionId="$(version "$key")" --Algorithm="$algorithm" --Digest=$DIGEST
done
check "s003_021 KeyVersionId is needed" refused_as 'MissingParameter|KeyVersionId' alikms AsymmetricSign --KeyId="$(id rsa)" --Algorithm=RSA_PSS_SHA_256 --Digest=$DIGEST

# --- public keys, verification
public() { # KEY FILE
  answers alikms GetPublicKey --KeyId="$(id "$1")" --KeyVersionId="$(version "$1")" && fields_are "KeyId KeyVersionId PublicKey RequestId" || return 1
  field .PublicKey >"$2" && openssl pkey -pubin -in "$2" -noout || return 1
  alikms GetPublicKey --KeyId="$(id "$1")" --KeyVersionId="$(version "$1")" --query PublicKey >plain.pub && diff -B plain.pub "$2"
}
for key in rsa ec_p256 ec_p256k; do check "s003_022 GetPublicKey $key" public $key ${key}_publickey.pub; done
verified() { "$@" | tee shown && [ "$(cat shown)" = "Verified OK" ]; }
check "s003_023 s003_027 s004_136 verify RSA-PSS" verified \
  openssl dgst -verify rsa_publickey.pub -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1 -signature rsa_pss_signature.bin message-file.txt
check "s003_024 s003_027 s004_136 verify RSA PKCS#1" verified \
  openssl dgst -verify rsa_publickey.pub -sha256 -signature rsa_pkcs1_signature.bin message-file.txt
check "s003_025 s003_027 s004_136 verify P-256" verified \
  openssl dgst -verify ec_p256_publickey.pub -sha256 -signature ec_p256_signature.bin message-file.txt
check "s003_026 s003_027 s004_136 verify secp256k1" verified \
  openssl dgst -verify ec_p256k_publickey.pub -sha256 -signature ec_p256k_signature.bin message-file.txt

# --- S004's digest is that of its sample as Windows writes it; the document's own text of it has one letter misread.
printf 'this is message \r\n' >message-file.txt
DIGEST=hRP2cuRFSlfEoUXCGuPyi7kZr18VCTZeVOTw0jbUB6w=
windows() { [ "$(openssl dgst -sha256 -binary message-file.txt | base64)" = $DIGEST ]; }
check "s004_134 the digest of the Windows sample" windows
sign_and_verify() { sign "$1" "$2" "$1.sig" && verified openssl dgst -verify "$1_publickey.pub" -sha256 "${@:3}" -signature "$1.sig" message-file.txt; }
check "s004_135 s004_136 RSA_PSS_SHA_256" sign_and_verify rsa RSA_PSS_SHA_256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1
check "s004_135 s004_136 RSA_PKCS1_SHA_256" sign_and_verify rsa RSA_PKCS1_SHA_256
check "s004_135 s004_136 ECDSA_SHA_256 with EC_P256" sign_and_verify ec_p256 ECDSA_SHA_256
check "s004_135 s004_136 ECDSA_SHA_256 with EC_P256K" sign_and_verify ec_p256k ECDSA_SHA_256

# --- encryption
check "s004_122 CreateKey ENCRYPT/DECRYPT" create box RSA_2048 alikms CreateKey --KeySpec=RSA_2048 --KeyUsage=ENCRYPT/DECRYPT --ProtectionLevel=HSM || finish
check "s004_123…125 GetPublicKey" public box rsa_publickey.pub
echo "this is plaintext" > plaintext-file.txt
encrypt() {
  openssl pkeyutl -encrypt -in plaintext-file.txt -inkey rsa_publickey.pub -pubin \
    -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256 -out plaintext-file.enc &&
    openssl base64 -in plaintext-file.enc >lines && [ "$(wc -l <lines)" = 6 ]
}
check "s004_126…128 encrypt with openssl" encrypt
decrypt() { # BLOB
  answers alikms AsymmetricDecrypt --KeyId "$(id box)" --KeyVersionId "$(version box)" --Algorithm RSAES_OAEP_SHA_256 --CiphertextBlob "$1" || return 1
  fields_are "KeyId KeyVersionId Plaintext RequestId" && [ "$(field .Plaintext)" = dGhpcyBpcyBwbGFpbnRleHQK ] && echo "$(field .Plaintext)" | openssl base64 -d | cmp - plaintext-file.txt
}
check "s004_129…131 decrypt, one line" decrypt "$(tr -d '\n' <lines)"
check "s004_128 decrypt, Base64 with newlines" decrypt "$(cat lines)"
finish
