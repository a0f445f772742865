#!/usr/bin/env bash
# make up starts the reference cluster on this machine; make down removes it. A further
# up continues where the last one stopped.
#
# As root on Linux the cluster runs in the lab: real machines, with the sample
# service deployed. Elsewhere there are no machines: Terraform creates the same
# cluster in a stand-in for the AWS API.
#
# Clusters of several checkouts run side by side if each has a lab of its own:
# XEROOPS_LAB_NAME names it, and XEROOPS_EDGE_PORT sets the loopback port of its edge
# (default 8443, or a free port if that is taken).
set -euo pipefail
cd "$(dirname "$0")/.."

# The same flags everywhere, so that everything is compiled once.
export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath"

readonly lab=${XEROOPS_LAB_NAME:-lab}
readonly state=$PWD/.tools/up${XEROOPS_LAB_NAME:+-$lab}
# The checkout that the lab belongs to. The lab removes the file when it ends.
readonly owner=/run/xeroops-lab/$lab/checkout
readonly log=$state/up.log
readonly example=examples/complete

# --- progress: one line per step; on a terminal it shows the time and the log's last line

number=0 steps=0 watcher=

elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

# step TITLE COMMAND [ARG…] runs a step. Its output goes to the log, whose last lines
# are shown if it fails. set -e has no effect inside a step, because bash ignores it
# where a status is tested.
step() {
  local title=$1 begun=$SECONDS status=0
  shift
  number=$((number + 1))
  local line="$number/$steps $title"
  printf '\n== %s\n' "$line" >>"$log"
  if [ -t 1 ]; then
    watch "$line" 9>&- &
    watcher=$!
  else
    echo "[$(elapsed)] $line"
  fi
  "$@" >>"$log" 2>&1 </dev/null 9>&- || status=$?
  unwatch
  if [ "$status" != 0 ]; then
    printf '[%s] %s failed; the last lines of %s:\n' "$(elapsed)" "$line" "${log#"$PWD/"}" >&2
    tail -n 20 "$log" | sed 's/^/    /' >&2
    echo "Fix it and rerun; completed steps are skipped." >&2
    exit "$status"
  fi
  echo "[$(elapsed)] $line: $((SECONDS - begun)) s"
}

watch() {
  local width title words
  while sleep 1; do
    width=$(($(tput cols 2>/dev/null || echo 80) - 1)) # a wrapped line could not be overwritten
    title="[$(elapsed)] $1  "
    title=${title:0:width}
    words=$(tail -n 1 "$log" | tr -dc '[:print:]')
    printf '\r\033[K%s\033[2m%s\033[0m' "$title" "${words:0:width-${#title}}"
  done
}

unwatch() {
  if [ -n "$watcher" ]; then
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    printf '\r\033[K'
    watcher=
  fi
}
trap unwatch EXIT
trap 'unwatch; echo "interrupted; rerun to continue, or run make down to remove everything" >&2; exit 130' INT TERM

# --- the steps

# terraform_config makes Terraform use the provider that was just built, without a
# registry.
terraform_config() {
  mkdir -p "$state/mirror"
  cat >"$state/terraform.rc" <<RC
provider_installation {
  dev_overrides {
    "xeroops/xeroops" = "$PWD/bin"
  }
  filesystem_mirror {
    path = "$state/mirror"
  }
}
RC
  export TF_CLI_CONFIG_FILE=$state/terraform.rc TF_DATA_DIR=$state/terraform TF_IN_AUTOMATION=1 TF_INPUT=0
}

terraform_apply() {
  "$TF_ACC_TERRAFORM_PATH" -chdir="$example" get -no-color && # no init: the provider is overridden
    "$TF_ACC_TERRAFORM_PATH" -chdir="$example" apply -no-color -auto-approve -state="$state/terraform.tfstate" \
    -var name=reference -var owner=make-up -var keep_data=false "$@"
}

tools() {
  XEROOPS_SETUP_FOR=up scripts/setup.sh || return 1
  # shellcheck source=/dev/null
  . .tools/env.sh
  if [ -z "${TF_ACC_TERRAFORM_PATH:-}" ]; then
    echo "neither Terraform nor OpenTofu could be installed, see above"
    return 1
  fi
}

# lab_is_ours fails if the lab belongs to another checkout.
lab_is_ours() {
  if [ -e "$owner" ] && [ "$(cat "$owner")" != "$PWD" ]; then
    echo "lab $lab belongs to $(cat "$owner"); for one of this checkout, run: XEROOPS_LAB_NAME=NAME make up" >&2
    return 1
  fi
}

lab_up() {
  if ! bin/xeroops-lab status >/dev/null 2>&1; then
    rm -f "$state"/terraform.tfstate* # its lab, and so its account, no longer exists
  fi
  bin/xeroops-lab up && echo "$PWD" >"$owner"
}

forward() {
  bin/xeroops-lab forward ${XEROOPS_EDGE_PORT:+--https="127.0.0.1:$XEROOPS_EDGE_PORT"} | tee "$state/forwards"
}

# edge prints the address that forwards to the edge's HTTPS port.
edge() { awk '/ openresty-lb port 443$/ { print $2 }' "$state/forwards"; }

deploy() {
  # Debian's Python and setuptools build it, without a package index.
  PATH=/usr/bin:$PATH bin/xeroops deploy examples/service --cluster=reference --via='bin/xeroops-lab connect %h %p' --wheelhouse=/usr/share/python-wheels
}

# responds waits until the service responds through the edge.
responds() {
  local url
  url=https://$(edge)/api/notes
  for _ in $(seq 60); do
    if curl -skf --max-time 5 "$url" >/dev/null; then return; fi
    sleep 0.5
  done
  echo "$url does not respond"
  curl -ski --max-time 5 "$url"
  return 1
}

up_in_lab() {
  lab_is_ours
  steps=8
  step "tools" tools
  step "binaries" make build
  step "lab" lab_up
  eval "$(bin/xeroops-lab env)"
  step "role images" scripts/images.sh -o "$state/images.tfvars.json"
  terraform_config
  step "cluster: terraform apply" terraform_apply -var-file="$state/images.tfvars.json"
  step "port forwarding to the edge" forward
  step "sample service: xeroops deploy" deploy
  step "response through the edge" responds
  cat <<TEXT

The reference cluster runs: seven machines, with the sample service on both app nodes.

  open  https://$(edge)/            the edge; its certificate is self-signed
        https://$(edge)/api/notes   the sample service: FastAPI, and rows from PostgreSQL

  try   bin/xeroops-lab status                     the machines
        bin/xeroops-lab shell db1                  a root shell on one
        bin/xeroops-lab fault power-cut app1       cut a machine's power, and reload the page
        eval "\$(bin/xeroops-lab env)"              makes AWS clients, terraform and xeroops use the lab
        bin/xeroops status --cluster=reference --via='bin/xeroops-lab connect %h %p'
                                                   nodes and applications as the registry has them

  end   make down
TEXT
  if [ -n "${XEROOPS_LAB_NAME:-}" ]; then
    echo
    echo "These commands, make down included, need XEROOPS_LAB_NAME=$lab in the environment."
  fi
}

# --- without machines

# account_runs reports whether the stand-in runs. The process id may belong to another
# process after a restart of the machine, or to a zombie.
account_runs() {
  [ -e "$state/account.pid" ] || return 1
  case $(ps -o comm= -p "$(cat "$state/account.pid")" 2>/dev/null) in
  *accountd) ;;
  *) return 1 ;;
  esac
}

account() { # starts the stand-in for AWS unless it runs
  if account_runs; then return; fi
  rm -f "$state"/terraform.tfstate* "$state/account.env"
  go build -o "$state/accountd" ./scripts/accountd || return 1
  "$state/accountd" -env "$state/account.env" >>"$log" 2>&1 </dev/null &
  echo $! >"$state/account.pid"
  until [ -e "$state/account.env" ]; do
    kill -0 "$(cat "$state/account.pid")" || return 1
    sleep 0.2
  done
}

up_without_machines() {
  echo "$1: the lab's machines need root on Linux. Creating the cluster in a stand-in for the AWS API, without machines."
  steps=4
  step "tools" tools
  step "binaries" make build
  step "stand-in for AWS" account
  # shellcheck source=/dev/null
  . "$state/account.env"
  terraform_config
  step "cluster: terraform apply" terraform_apply -var on_ready_timeout=skip -var 'image_ids={}'
  cat <<TEXT

The reference cluster exists in a stand-in for AWS at $AWS_ENDPOINT_URL; it has no machines.

  try   . ${state#"$PWD/"}/account.env    makes AWS clients use it
  end   make down
TEXT
}

down() {
  while account_runs; do
    kill "$(cat "$state/account.pid")" 2>/dev/null || true
    sleep 0.1
  done
  lab_is_ours
  if [ -x bin/xeroops-lab ] && [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ]; then
    bin/xeroops-lab down
  fi
  rm -rf "$state"
  echo "The cluster is removed. The cache of images and packages, /var/cache/xeroops-lab, is kept for the next up; make clean removes the tools."
}

main() {
  case ${1:-} in
  up)
    mkdir -p "$state"
    exec 9>"$state/lock"
    if command -v flock >/dev/null && ! flock --nonblock 9; then
      echo "another make up is running in this checkout" >&2
      exit 1
    fi
    : >"$log"
    if [ "$(uname)" != Linux ]; then
      up_without_machines "This is $(uname)"
    elif [ "$(id -u)" != 0 ]; then
      up_without_machines "You are not root"
    else
      up_in_lab
    fi
    ;;
  down) down ;;
  *)
    echo "usage: scripts/up.sh up|down" >&2
    exit 2
    ;;
  esac
}

main "$@"
