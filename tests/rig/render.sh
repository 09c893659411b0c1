#!/bin/bash
# render.sh [REGISTRY]: prints the chart as plain manifests, for those who have no helm; their images are in REGISTRY.
set -euo pipefail
# shellcheck source=cache.sh
. "$(dirname "$(readlink -f "$0")")/cache.sh"

tools=$("$HERE/tools.sh")
echo "# Rendered from charts/procview by \`make deploy\`: change that, not this."
# A name of its own only says which objects belong together, and no object carries it.
"$tools/helm" template procview "$HERE/../../charts/procview" --namespace procview --no-hooks \
  --set namespace.create=true ${1:+--set-string "image.registry=$1"} |
  # helm 3 and 4 differ in their empty lines only.
  sed '/^ *$/d'
