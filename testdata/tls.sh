#!/usr/bin/env bash
# Makes testdata/tls: an authority, and a server's certificate for localhost that it signed, from 2020 to 2120.
# The server's key is for tests on this machine; that of the authority is not kept.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p tls
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -keyout "$work/authority.key" \
  -out tls/authority.pem -subj "/CN=midcourse tests" -addext "basicConstraints=critical,CA:TRUE"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout tls/server.key -out "$work/server.csr" \
  -subj "/CN=localhost"
touch "$work/index"
cat > "$work/ca.cnf" <<CNF
[ca]
default_ca = tests
[tests]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = server
[any]
commonName = supplied
[server]
subjectAltName = DNS:localhost,IP:127.0.0.1
basicConstraints = CA:FALSE
CNF
openssl ca -batch -notext -config "$work/ca.cnf" -cert tls/authority.pem -keyfile "$work/authority.key" \
  -startdate 20200101000000Z -enddate 21200101000000Z -in "$work/server.csr" -out tls/server.pem
