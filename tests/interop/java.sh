#!/bin/bash
# Java through SunPKCS11: keytool, a program with KeyStore, Signature, threads and a TLS server, jarsigner.
. "$(dirname "$0")/lib.sh"
need java javac keytool jarsigner jar openssl curl pkcs11-tool
FAST=(-J-XX:TieredStopAtLevel=1 -J-Xshare:auto -J-Duser.language=en)

# SunPKCS11 takes a slot by number only; the number is a Java int (SoftHSM's may not fit one, then the place in the list).
read -r index slot < <(t 30 pkcs11-tool --module "$MODULE" -L 2>/dev/null | awk -v label="$TOKEN" '/^Slot [0-9]+/ {at = $2; id = $3; gsub(/[():]/, "", id)} /token label/ {sub(/^ *token label *: */, ""); if ($0 == label) {print at, id; exit}}')
[ -n "${slot:-}" ] || die "the token $TOKEN has a slot"
if [ $((slot)) -le 2147483647 ]; then where="slot = $((slot))"; else where="slotListIndex = $index"; fi
printf 'name = Alikms\nlibrary = %s\n%s\n' "$MODULE" "$where" >token.cfg
STORE=(-keystore NONE -storetype PKCS11 -providerClass sun.security.pkcs11.SunPKCS11 -providerArg "$W/token.cfg" -storepass "$PIN")

# Both keys are private-key entries with a chain.
list() {
  t 60 keytool "${FAST[@]}" -list -v "${STORE[@]}" >shown 2>&1 || { tail -n 5 shown; return 1; }
  awk -v want="$1" '/^Alias name: / {alias = $3} /^Entry type: / {type = $3} /^Certificate chain length: / {if (alias == want) print type, $4}' shown | tee entry
  grep -q '^PrivateKeyEntry [2-9]$' entry
}
for key in rsa p256; do check "keytool -list shows $(label $key) with its chain" list "$(label $key)"; done
request() { t 60 keytool "${FAST[@]}" -certreq -alias "$(label rsa)" "${STORE[@]}" -file csr.pem && plain req -in csr.pem -noout -verify && plain req -in csr.pem -noout -pubkey | cmp - <(plain pkey -pubin -in "$(of rsa pub)" -pubout); }
check "keytool -certreq" request

t 120 javac "${FAST[@]}" -d classes "$HERE/java/TokenTest.java" >>"$LOG" 2>&1 || die "the Java program compiles" "$LOG"
t 240 java -XX:TieredStopAtLevel=1 -cp classes TokenTest token.cfg sign "$(label rsa)" "$(label p256)" "$(of rsa pub)" "$(of p256 pub)" >said 2>"$W/err"
status=$?
while read -r verdict name; do
  case $verdict in ok) ok "$name" ;; FAIL) bad "$name" ;; esac
done <said
[ $status = 0 ] || grep -q '^FAIL' said || { cat said err >>"$LOG"; bad "the Java program ends well (status $status)" "$LOG"; }

for key in rsa p256; do
  port=$(free_port)
  bg java -XX:TieredStopAtLevel=1 -cp classes TokenTest token.cfg serve "$(label $key)" "$port"
  check "TLS server with $key starts" wait_port "$port" || { tail -n 5 "$LOG"; continue; }
  check "TLS 1.3 with $key" tls_ok "$port" -tls1_3
  check "TLS 1.2 with $key" tls_ok "$port" -tls1_2
  requests() { local good; good=$(seq 50 | xargs -P 8 -I{} curl -s --max-time 15 --cacert "$FIXTURE/ca/root.pem" "https://localhost:$port/" --resolve "localhost:$port:127.0.0.1" | grep -c served); echo "$good of 50"; [ "$good" = 50 ]; }
  check "50 requests with $key" requests
  stop_started
done

keytool "${FAST[@]}" -importcert -noprompt -alias root -file "$FIXTURE/ca/root.pem" -keystore trust.p12 -storetype PKCS12 -storepass changeit >>"$LOG" 2>&1
signed_jar() { # KEY ALGORITHM: verified by jarsigner against our root, and its CMS by openssl
  rm -rf j && mkdir j && head -c 20000 /dev/urandom >j/data.bin && jar "${FAST[@]}" -c -f app.jar -C j data.bin || return 1
  t 60 jarsigner "${FAST[@]}" "${STORE[@]}" -sigalg "$2" -digestalg SHA-256 -sigfile SIG app.jar "$(label "$1")" || return 1
  t 60 jarsigner "${FAST[@]}" -verify -strict -keystore trust.p12 -storepass changeit app.jar >shown 2>&1
  cat shown; grep -q '^jar verified' shown || return 1
  ! grep -qE "not trusted|chain is (invalid|not valid)|PKIX" shown || return 1
  (cd j && jar "${FAST[@]}" -x -f ../app.jar META-INF) && plain cms -verify -inform DER -in j/META-INF/SIG.[RE][SC]* -content j/META-INF/SIG.SF -binary -CAfile "$FIXTURE/ca/root.pem" -purpose any -out /dev/null
}
check "jarsigner SHA256withRSA" signed_jar rsa SHA256withRSA
check "jarsigner SHA256withECDSA" signed_jar p256 SHA256withECDSA
check "jarsigner RSASSA-PSS" signed_jar rsa RSASSA-PSS
changed_jar() { signed_jar rsa SHA256withRSA >/dev/null && echo changed >j/data.bin && jar "${FAST[@]}" -u -f app.jar -C j data.bin && t 60 jarsigner "${FAST[@]}" -verify app.jar >shown 2>&1; cat shown; ! grep -q '^jar verified' shown; }
check "jarsigner -verify finds a changed file" changed_jar
finish
