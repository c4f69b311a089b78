#!/bin/bash
# The private CA: root, intermediate and certificate, whose keys are CMKs. Chains and revocation lists as openssl and Java judge
# them; signatures of Java, jarsigner and osslsigncode that bring the complete chain along.
. "$(dirname "$0")/lib.sh"
need openssl java javac keytool jarsigner jar osslsigncode python3 jq
[ "$REFERENCE" = 1 ] && { ok "the private CA is alikms's own"; finish; }
FAST=(-J-XX:TieredStopAtLevel=1 -J-Xshare:auto -J-Duser.language=en)
t 120 javac "${FAST[@]}" -d classes "$HERE/java/PathTest.java" >>"$LOG" 2>&1 || die "the Java program compiles" "$LOG"
slot=$(t 30 pkcs11-tool --module "$MODULE" -L 2>/dev/null | awk -v label="$TOKEN" '/^Slot [0-9]+/ {id = $3; gsub(/[():]/, "", id)} /token label/ {sub(/^ *token label *: */, ""); if ($0 == label) {print id; exit}}')
printf 'name = Alikms\nlibrary = %s\nslot = %s\n' "$MODULE" "$((slot))" >token.cfg
STORE=(-keystore NONE -storetype PKCS11 -providerClass sun.security.pkcs11.SunPKCS11 -providerArg "$W/token.cfg" -storepass "$PIN")
python3 "$HERE/program.py" program.exe
engine=$(openssl version -e | cut -d'"' -f2)/pkcs11.so

answers() { alikms "$@" >answer; }
field() { jq -er ".$1" answer; }
authority() { # NAME ACTION WORDS…: NAME.id, NAME.pem
  answers "$2" --Subject "CN=$1,O=alikms tests,C=CN" --ProtectionLevel "$LEVEL" "${@:3}" && field Identifier >"$1.id" && field X509Certificate >"$1.pem"
}
crls() { local one; for one in "$@"; do alikms crl --CertificateId "$(cat "$one.id")" >"$one.crl" || return 1; done; cat "${@/%/.crl}" >all.crl; }
java_path() { t 60 java -XX:TieredStopAtLevel=1 -cp classes PathTest "$@"; }

for spec in RSA_2048 EC_P256; do
  [ $spec = RSA_2048 ] && algorithm=SHA256withRSA || algorithm=SHA256withECDSA
  root=root-$spec-$LEVEL issuer=issuer-$spec-$LEVEL leaf=$PREFIX-issued-$spec-$$
  check "root, $spec" authority "$root" CreateRootCACertificate --Algorithm $spec --Years 10 || finish
  check "intermediate, $spec" authority "$issuer" CreateSubCACertificate --ParentIdentifier "$(cat "$root.id")" --Algorithm $spec --Years 5 || finish
  certificate() {
    answers CreateKey --KeySpec $spec --KeyUsage SIGN/VERIFY --ProtectionLevel "$LEVEL" && field KeyMetadata.KeyId >"$leaf.key" &&
      alikms CreateAlias --AliasName "alias/$leaf" --KeyId "$(cat "$leaf.key")" &&
      alikms csr --KeyId "alias/$leaf" --Subject "CN=localhost,O=alikms tests,C=CN" >"$leaf.csr" &&
      answers CreateServerCertificateWithCsr --ParentIdentifier "$(cat "$issuer.id")" --Csr-FILE "$leaf.csr" --Domain localhost --Days 30 &&
      field Identifier >"$leaf.id" && field X509Certificate >"$leaf.pem" && field CertificateChain >"$leaf.chain" &&
      alikms attach-certificate --KeyId "alias/$leaf" --Certificate-FILE "$leaf.pem" --CertificateChain-FILE "$leaf.chain"
  }
  check "a certificate for a CMK, $spec" certificate || finish
  check "the revocation lists, $spec" crls "$root" "$issuer"
  by_openssl() { plain verify -x509_strict -crl_check_all -CRLfile all.crl -purpose sslserver -CAfile "$root.pem" -untrusted "$issuer.pem" "$leaf.pem"; }
  by_java() { java_path "$root.pem" "$root.crl" "$issuer.crl" -- "$leaf.pem" "$issuer.pem"; }
  check "openssl verify -crl_check_all, $spec" by_openssl
  check "Java's validator with the revocation lists, $spec" by_java
  refused "Java refuses another root, $spec" java_path "$FIXTURE/ca/root.pem" -- "$leaf.pem" "$issuer.pem"

  # Alias and complete chain, root included, as Java's KeyStore puts it together from the token's objects.
  chain_of() { t 60 keytool "${FAST[@]}" -list -v "${STORE[@]}" >shown 2>&1; awk -v want="$leaf" '/^Alias name: / {alias = $3} /^Entry type: / {type = $3} /^Certificate chain length: / {if (alias == want) print type, $4}' shown | tee entry; grep -qx "PrivateKeyEntry 3" entry; }
  check "Java's KeyStore shows alias and complete chain, $spec" chain_of
  embedded() { # CMS-FILE-as-PEM: leaf, intermediate and root are in it
    local one; plain pkcs7 -in "$1" -print_certs -out certs.pem || return 1
    for one in "$leaf.pem" "$issuer.pem" "$root.pem"; do
      plain x509 -in "$one" -outform PEM -out want.pem && tr -d '\n' <certs.pem | grep -qF "$(sed '1d;$d' want.pem | tr -d '\n')" || { echo "$one is missing"; return 1; }
    done
  }
  jar_chain() {
    rm -rf j && mkdir j && echo data >j/data && jar "${FAST[@]}" -c -f app.jar -C j data && t 60 jarsigner "${FAST[@]}" "${STORE[@]}" -sigalg $algorithm -sigfile SIG app.jar "$leaf" || return 1
    (cd j && jar "${FAST[@]}" -x -f ../app.jar META-INF) && plain pkcs7 -inform DER -in j/META-INF/SIG.[RE][SC]* -out jar.p7 && embedded jar.p7
  }
  check "jarsigner embeds the complete chain, $spec" jar_chain
  program_chain() {
    alikms deploy "$W/$leaf" --KeyId "alias/$leaf" --pin "file:$FIXTURE/pin" && rm -f signed.exe program.p7 &&
      t 60 osslsigncode sign -pkcs11engine "$engine" -pkcs11module "$MODULE" -pass "$PIN" -pkcs11cert "pkcs11:token=$TOKEN;object=$leaf;type=cert" \
        -certs "$W/$leaf/current/chain.pem" -key "pkcs11:token=$TOKEN;object=$leaf;type=private" -h sha256 -in program.exe -out signed.exe &&
      osslsigncode extract-signature -pem -in signed.exe -out program.p7 >/dev/null && embedded program.p7
  }
  check "osslsigncode embeds the complete chain, $spec" program_chain

  # Revoked: in the next list, for both judges, and out of the token's sight.
  check "it is revoked, $spec" alikms CreateRevokeClientCertificate --Identifier "$(cat "$leaf.id")"
  check "the next list, $spec" crls "$root" "$issuer"
  refused "openssl verify finds it revoked, $spec" by_openssl
  refused "Java finds it revoked, $spec" by_java
  gone() { pt --list-objects --type cert --label "$leaf" | tee shown; ! grep -q "$leaf" shown; }
  check "the token shows it no more, $spec" gone
done
finish
