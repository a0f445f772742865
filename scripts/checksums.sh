#!/usr/bin/env bash
# checksums.sh PATTERN FILE writes the SHA-256 sums of the archives that match
# PATTERN in FILE's directory to FILE, and signs it. goreleaser runs it.
set -euo pipefail

pattern=$1
file=$(basename "$2")
cd "$(dirname "$2")"
# shellcheck disable=SC2086 # the pattern is there to be expanded
sha256sum $pattern >"$file"
gpg --batch --yes --local-user "$GPG_FINGERPRINT" --output "$file.sig" --detach-sign "$file"
