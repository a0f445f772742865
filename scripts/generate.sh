#!/usr/bin/env bash
# Generates docs/: the registry's pages from the provider's schema, examples/ and
# templates/docs/, the guide of service ports, and the table of AWS calls. With
# -check it changes nothing and prints what is not up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly tfplugindocs=github.com/hashicorp/terraform-plugin-docs/cmd/tfplugindocs@v0.25.0
readonly work=.tools/generate
readonly generated=(index.md aws-calls.md policies resources data-sources ephemeral-resources functions guides)

terraform=${TF_ACC_TERRAFORM_PATH:-$(command -v terraform || command -v tofu)} ||
  { echo "generate: neither terraform nor tofu is on PATH; run make setup" >&2; exit 1; }

out=docs
if [ "${1:-}" = -check ]; then
  out=$work/docs
fi
rm -rf "$work"
mkdir -p "$work/bin" "$work/config" "$out"

# The schema of the provider built from this tree, as Terraform prints it. Its address
# has hashicorp/ because tfplugindocs accepts no other.
go build -o "$work/bin/terraform-provider-xeroops" ./provider
cat >"$work/cli.tfrc" <<TFRC
provider_installation {
  dev_overrides { "registry.terraform.io/hashicorp/xeroops" = "$PWD/$work/bin" }
  direct {}
}
TFRC
cat >"$work/config/main.tf" <<'HCL'
terraform {
  required_providers {
    xeroops = {
      source = "registry.terraform.io/hashicorp/xeroops"
    }
  }
}
HCL
TF_CLI_CONFIG_FILE=$PWD/$work/cli.tfrc CHECKPOINT_DISABLE=1 "$terraform" -chdir="$work/config" providers schema -json |
  go run ./provider/internal/identityschemas >"$work/schema.json"

go run "$tfplugindocs" generate \
  --provider-name xeroops \
  --rendered-provider-name XeroOps \
  --providers-schema "$PWD/$work/schema.json" \
  --website-source-dir templates/docs \
  --rendered-website-dir "$out" >"$work/tfplugindocs.log" 2>&1 ||
  { cat "$work/tfplugindocs.log" >&2; exit 1; }
mkdir -p "$out/guides"
go run ./scripts/portstable >"$out/guides/service-ports.md"
go run ./scripts/awscalls "$out/policies" >"$out/aws-calls.md"

if [ "$out" != docs ]; then
  stale=0
  for part in "${generated[@]}"; do
    diff -ruN "docs/$part" "$out/$part" || stale=1
  done
  if [ "$stale" != 0 ]; then
    echo "generate: docs/ is not up to date; run make generate" >&2
    exit 1
  fi
fi
