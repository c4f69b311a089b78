#!/bin/bash
# OpenSSH: ssh-keygen -D, logins to an sshd on 127.0.0.1 with the token's keys, directly and through ssh-agent, and sshsig.
. "$(dirname "$0")/lib.sh"
need ssh ssh-keygen ssh-agent ssh-add sshd openssl
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
export HOME=$W
unset SSH_AUTH_SOCK
# shellcheck disable=SC2016 # expanded when it runs
printf '#!/bin/sh\nprintf "%%s\\n" "$PIN"\n' >askpass; chmod 700 askpass
export SSH_ASKPASS=$W/askpass SSH_ASKPASS_REQUIRE=force DISPLAY=none

# What OpenSSH should see, from the public key that it did not get from the module.
for key in rsa p256 p384; do ssh-keygen -i -m PKCS8 -f "$(of $key pub)" >$key.ssh 2>>"$LOG" || die "the public key of $key converts" "$LOG"; done
body() { cut -d' ' -f2 "$1"; }
listed() { t 30 ssh-keygen -D "$MODULE" >keys 2>"$W/err" </dev/null || { cat err; return 1; }; cut -c 1-120 keys; grep -qF "$(body "$1.ssh")" keys; }
for key in rsa p256 p384; do check "ssh-keygen -D shows $key without login" listed $key; done

port=$(free_port)
ssh-keygen -q -t ed25519 -N '' -f host
cat rsa.ssh p256.ssh p384.ssh >authorized
cat >sshd.conf <<CONF
Port $port
ListenAddress 127.0.0.1
HostKey $W/host
AuthorizedKeysFile $W/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PidFile none
LogLevel VERBOSE
CONF
bg "$(command -v sshd)" -D -e -f "$W/sshd.conf"
check "sshd starts" wait_port "$port" || finish
printf '[127.0.0.1]:%s %s\n' "$port" "$(cut -d' ' -f1,2 host.pub)" >known
SSH=(ssh -F none -p "$port" -o "UserKnownHostsFile=$W/known" -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes
  -o PreferredAuthentications=publickey -o IdentitiesOnly=yes -o ConnectTimeout=10)
ME=$(id -un)
accepted() { # KEY ssh-options…: sshd itself says which key it was
  local print; print=$(ssh-keygen -l -f "$1.ssh" | cut -d' ' -f2)
  : >"$LOG"
  [ "$(t 30 "${SSH[@]}" "${@:2}" "$ME@127.0.0.1" 'echo inside' </dev/null 2>err)" = inside ] || { tail -n 4 err "$LOG"; return 1; }
  grep -q "Accepted publickey for $ME .*$print" "$LOG" || { tail -n 4 "$LOG"; return 1; }
}
for key in rsa p256 p384; do check "login with -o PKCS11Provider, $key" accepted $key -o "PKCS11Provider=$MODULE" -o IdentityAgent=none -i "$W/$key.ssh"; done

# OpenSSH 9.2's agent dies of any secp256k1 key on a token ("unknown or unsupported key type"). A disabled key is not seen.
away() {
  for level in hsm sw; do
    if [ "$REFERENCE" = 1 ]; then logged_in --delete-object --type pubkey --label $level-k256 || true; else alikms DisableKey --KeyId "$(cat "$FIXTURE/keys/$level-k256.id")" || return 1; fi
  done
}
at_end() { [ "$REFERENCE" = 1 ] || for level in hsm sw; do alikms EnableKey --KeyId "$(cat "$FIXTURE/keys/$level-k256.id")" >/dev/null; done; }
check "secp256k1 keys are put away" away
bg ssh-agent -D -a "$W/agent" -P "$(realpath "$MODULE"),$MODULE"
for _ in {1..50}; do [ -S agent ] && break; sleep 0.1; done
export SSH_AUTH_SOCK=$W/agent
check "ssh-add -s" t 30 ssh-add -s "$MODULE" || finish
in_agent() { ssh-add -L >keys && grep -qF "$(body "$1.ssh")" keys; }
for key in rsa p256 p384; do
  check "ssh-add -L shows $key" in_agent $key
  check "login through the agent, $key" accepted $key -i "$W/$key.ssh"
done
check "login with rsa-sha2-256" accepted rsa -o PubkeyAcceptedAlgorithms=rsa-sha2-256 -i "$W/rsa.ssh"
many() { local in; in=$(seq 12 | xargs -P 6 -I{} timeout 30 "${SSH[@]}" -i "$W/p256.ssh" "$ME@127.0.0.1" 'echo inside' 2>/dev/null | grep -c inside); echo "$in of 12"; [ "$in" = 12 ]; }
check "12 logins, 6 at a time" many
sshsig() {
  rm -f message.sig; date >message
  t 30 ssh-keygen -Y sign -n file -f "$1.ssh" message && printf 'me@example.test %s\n' "$(cut -d' ' -f1,2 "$1.ssh")" >signers &&
    SSH_AUTH_SOCK='' ssh-keygen -Y verify -n file -I me@example.test -f signers -s message.sig <message
}
for key in rsa p256; do check "ssh-keygen -Y sign, $key" sshsig $key; done
user_certificate() { ssh-keygen -q -t ed25519 -N '' -f user <<<y >/dev/null; t 30 ssh-keygen -s rsa.ssh -D "$MODULE" -I someone -n "$ME" -V +1h user.pub </dev/null && ssh-keygen -L -f user-cert.pub | tee shown && grep -q 'Signing CA: RSA' shown; }
check "ssh-keygen -s: a user certificate signed on the token" user_certificate
check "ssh-add -e" t 20 ssh-add -e "$MODULE"
finish
