#!/bin/bash
# Fetches the clients that come from PyPI and npm into target/clients, pinned by version and hash: tests/interop/python and
# tests/interop/node say which. Nothing is fetched when they are there. The tests themselves use no network.
. "$(dirname "$0")/common.sh"
at=$ROOT/target/clients
wanted=$(cat tests/interop/python/*.txt tests/interop/node/package*.json "$0" | sha256sum | cut -c 1-64)
[ "$(cat "$at/fetched" 2>/dev/null)" != "$wanted" ] || exit 0
rm -rf "$at"; mkdir -p "$at/node"
quietly() { "$@" >"$at/log" 2>&1 || { tail -n 15 "$at/log" >&2; die "this did not work: $*"; }; }

say "fetching PyKCS11 and graphene-pk11"
quietly python3 -m venv "$at/python"
pip=("$at/python/bin/pip" --disable-pip-version-check --no-input)
quietly "${pip[@]}" install --require-hashes --prefer-binary -r tests/interop/python/requirements.txt
quietly "${pip[@]}" download --require-hashes --no-deps --no-build-isolation --no-binary :all: -d "$at" -r tests/interop/python/source.txt
mkdir "$at/pykcs11" && quietly tar -xf "$at"/pykcs11-*.tar.gz -C "$at/pykcs11" --strip-components 1

# npm runs no scripts of packages; what is native in pkcs11js is compiled here, against the headers of this node.
cp tests/interop/node/package*.json "$at/node"
quietly env -C "$at/node" npm ci --ignore-scripts --no-audit --no-fund
native=$at/node/node_modules/pkcs11js
headers=$(node -p 'require("path").join(process.execPath, "../../include/node")')
[ -e "$headers/node_api.h" ] || die "the headers of node are not in $headers: apt-get install libnode-dev"
mkdir -p "$native/build/Release"
quietly g++ -std=c++17 -shared -fPIC -O1 -w -DNAPI_DISABLE_CPP_EXCEPTIONS -DNODE_GYP_MODULE_NAME=pkcs11 -DBUILDING_NODE_EXTENSION \
  -I "$headers" -I "$native/includes" -o "$native/build/Release/pkcs11.node" "$native"/src/{dl,common,main}.cpp -ldl
echo "$wanted" >"$at/fetched"
