#!/usr/bin/env bash
# Installs the tools that the tests need and this machine lacks into .tools/, and writes
# .tools/env.sh, which puts them on PATH. A further run only checks. With
# XEROOPS_SETUP_FOR=up it leaves out the tools that only tests need.
# It lists what it cannot install; tests that need it are skipped with that reason.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly opentofu_version=v1.12.6
readonly moto_version=5.2.1
readonly tools=$PWD/.tools
missing=()

say() { printf 'setup: %s\n' "$*" >&2; }

# Debian packages, by the command that each provides.
debian_packages() {
  local wanted=() command package
  while read -r command package; do
    command -v "$command" >/dev/null || [ -x "/usr/sbin/$command" ] || wanted+=("$package")
  done <<'LIST'
shellcheck shellcheck
wg wireguard-tools
nft nftables
systemd-nspawn systemd-container
mmdebstrap mmdebstrap
ssh-keygen openssh-client
LIST
  # Debian's python3 has no venv without this package.
  if ! command -v moto_server >/dev/null && ! python3 -c 'import ensurepip' 2>/dev/null; then
    wanted+=(python3-venv)
  fi
  # To build the sample service without a package index: xeroops deploy --wheelhouse.
  /usr/bin/python3 -m pip --version >/dev/null 2>&1 || wanted+=(python3-pip)
  compgen -G '/usr/share/python-wheels/setuptools-*' >/dev/null || wanted+=(python3-setuptools-whl)
  compgen -G '/usr/share/python-wheels/wheel-*' >/dev/null || wanted+=(python3-wheel-whl)
  [ ${#wanted[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    missing+=("Debian packages ${wanted[*]}: install them as root with apt-get")
    return 0
  fi
  say "installing ${wanted[*]}"
  apt-get install -y --no-install-recommends "${wanted[@]}" >"$tools/apt.log" 2>&1 ||
    { apt-get update >"$tools/apt.log" 2>&1 &&
      apt-get install -y --no-install-recommends "${wanted[@]}" >>"$tools/apt.log" 2>&1; } ||
    missing+=("Debian packages ${wanted[*]}: apt-get failed, see .tools/apt.log")
}

# Prints the Terraform or OpenTofu to test with.
terraform_binary() {
  local name
  if [ -n "${TF_ACC_TERRAFORM_PATH:-}" ]; then
    echo "$TF_ACC_TERRAFORM_PATH"
    return
  fi
  for name in terraform tofu; do
    if command -v "$name"; then return; fi
  done
  if [ ! -x "$tools/bin/tofu" ]; then build_opentofu || return 1; fi
  echo "$tools/bin/tofu"
}

# OpenTofu is built from its Go module, because no package registry has a binary. The
# module's directory is read-only, and the replace directives in its go.mod require it
# to be the main module, so a copy is built.
build_opentofu() {
  say "building OpenTofu $opentofu_version; this takes about five minutes"
  local module source=$tools/opentofu
  module=$(cd "$tools" && GOFLAGS=-mod=mod go mod download -json "github.com/opentofu/opentofu@$opentofu_version" |
    sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p') && [ -n "$module" ] || return 1
  rm -rf "$source"
  cp -r "$module" "$source" && chmod -R u+w "$source" || return 1
  (cd "$source" && CGO_ENABLED=0 go build -trimpath -p "$(nproc)" -ldflags '-s -w' -o "$tools/bin/tofu" ./cmd/tofu) >&2 || return 1
  rm -rf "$source"
}

# Prints the moto_server to test against.
moto_binary() {
  if [ -n "${XEROOPS_MOTO_SERVER:-}" ]; then
    echo "$XEROOPS_MOTO_SERVER"
    return
  fi
  if command -v moto_server; then return; fi
  local venv=$tools/moto-$moto_version
  if [ ! -x "$venv/bin/moto_server" ]; then
    say "installing moto $moto_version into .tools/"
    { rm -rf "$venv" && python3 -m venv "$venv" &&
      "$venv/bin/pip" install --disable-pip-version-check "moto[server,ec2,s3,iam,sts]==$moto_version"; } >"$tools/moto.log" 2>&1 ||
      { rm -rf "$venv"; return 1; }
  fi
  ln -sf "$venv/bin/moto_server" "$tools/bin/" # which env.sh puts on PATH
  echo "$tools/bin/moto_server"
}

# A tree with the programs of the role images, for tests that run them.
debian_tree() {
  [ "${XEROOPS_SETUP_FOR:-test}" = test ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v mmdebstrap >/dev/null; then
    missing+=("a tree of Debian 13: needs root and mmdebstrap")
    return 0
  fi
  [ -e "$tools/debian13.packages" ] || say "creating a tree of Debian 13; this takes about two minutes"
  scripts/debiantree.sh >"$tools/debian13.log" 2>&1 || missing+=("a tree of Debian 13: see .tools/debian13.log")
}

main() {
  mkdir -p "$tools/bin"
  command -v go >/dev/null || { say "Go is missing; install the version that go.mod names"; exit 1; }
  debian_packages
  debian_tree
  local terraform moto
  terraform=$(terraform_binary) || missing+=("Terraform or OpenTofu: none on PATH, and building OpenTofu $opentofu_version failed")
  moto=$(moto_binary) || missing+=("moto_server: not on PATH, and pip could not install moto $moto_version, see .tools/moto.log")
  {
    echo "export PATH=\"$tools/bin:\$PATH:/usr/sbin:/sbin\"" # for nft
    echo "export AWS_EC2_METADATA_DISABLED=true"
    echo "export CHECKPOINT_DISABLE=1"
    [ -z "${terraform:-}" ] || echo "export TF_ACC_TERRAFORM_PATH=\"$terraform\""
  } >"$tools/env.sh"
  say "terraform: ${terraform:-none}; moto_server: ${moto:-none}"
  [ ${#missing[@]} -eq 0 ] || printf 'setup: CANNOT INSTALL: %s\n' "${missing[@]}" >&2
}

main "$@"
