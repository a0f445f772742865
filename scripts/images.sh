#!/usr/bin/env bash
# Builds the role images in the lab, which it starts if necessary (make images). It takes
# unchanged images from the lab's cache and builds the others: with Packer if it is on PATH
# or named by XEROOPS_PACKER, otherwise with bake; both read examples/images.
# Usage: images.sh [-o MANIFEST] [FLAG OF BAKE…], such as -fresh to build all.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

readonly bin=${XEROOPS_BIN:-$root/bin}
manifest=$root/examples/complete/images.auto.tfvars.json
if [ "${1:-}" = -o ]; then
  manifest=$2
  shift 2
fi
readonly lab=$bin/xeroops-lab
readonly from='["198.18.255.2/32"]' # the lab's internet side

eval "$("$lab" up)"
bake=("$bin/bake" -plugin "$bin/packer-plugin-xeroops"
  -var "ssh_from=$from" -var poll_interval=250ms -var backup_engine=pgbackrest -var "node_binary=$bin/xeroops-node" -var "manifest=$manifest")
if packer=$(command -v "${XEROOPS_PACKER:-packer}"); then bake+=(-packer "$packer"); fi

rm -f "$manifest"
case " $* " in
*' -fresh '*) ;;
*) "${bake[@]}" -contents "$root/examples/images" | cut -d ' ' -f 2 | xargs "$lab" import-images >/dev/null ;;
esac
exec "$lab" exec -- "${bake[@]}" "$@" "$root/examples/images"
