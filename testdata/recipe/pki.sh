#!/usr/bin/env bash
# Throw-away certificates of one case.  pki.sh DIR NAMESPACE.ACCOUNT...
# A mesh CA with one SPIFFE leaf an account (no subject, critical URI SAN, RSA-2048: as a mesh CA issues them), a public CA for
# the gateway's hosts and for applications that do their own TLS, and a partner CA with one client certificate.
# The keys are good for nothing else; they stay in the output folder and are never committed.
set -euo pipefail
mkdir -p "$1"; cd "$1"; shift
authority() { # name organisation
  openssl req -x509 -new -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.crt" -subj "/O=$2" -days 30 \
    -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign 2>/dev/null
}
leaf() { # name authority subject alternative-names
  openssl genrsa -out "$1.key" 2048 2>/dev/null
  openssl req -new -key "$1.key" -subj "$3" -out "$1.csr" 2>/dev/null
  printf 'keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:false\nsubjectAltName=%s\n' "$4" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 1 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  rm "$1.csr" "$1.ext"
}
authority mesh-ca cluster.local; authority public-ca "Example Public CA"; authority partner-ca "Example Partner CA"
for account in "$@"; do
  leaf "$account" mesh-ca / "critical,URI:spiffe://cluster.local/ns/${account%%.*}/sa/${account#*.}"
done
leaf gateway-public public-ca /CN=shop.example.com "DNS:*.example.com"
leaf application public-ca /CN=statements.example.com "DNS:*.example.com,DNS:*.svc.cluster.local"
leaf partner partner-ca /CN=partner-01 "DNS:partner-01.partner.example"
chmod a+r ./*
