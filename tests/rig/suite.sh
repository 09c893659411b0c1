# shellcheck shell=bash
# Sourced: packages of another Debian suite, unpacked and not installed.

# unpack_from SUITE TARGET PACKAGE PATTERN: PACKAGE and what it depends on, as far as the names match.
# apt works in a folder of its own: the system's lists stay as they are.
unpack_from() {
  local suite=$1 target=$2 package=$3 pattern=$4 apt=$2.apt packages
  mkdir -p "$target" "$apt"/lists/partial "$apt"/cache/archives/partial
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $suite main" > "$apt/sources.list"
  cat > "$apt/apt.conf" << A
Dir::Etc::sourcelist "$apt/sources.list"; Dir::Etc::sourceparts "-"; Dir::State::lists "$apt/lists";
Dir::State::status "/dev/null"; Dir::Cache "$apt/cache"; APT::Sandbox::User "root"; Acquire::Languages "none";
A
  (
    export APT_CONFIG=$apt/apt.conf
    cd "$apt" || exit
    apt-get -qq update
    packages=$(apt-cache depends --recurse --important "$package/$suite" 2> /dev/null |
      grep -oE "^$pattern\$" | sort -u)
    # shellcheck disable=SC2086 # one word each
    apt-get -qq download $packages
    for deb in *.deb; do dpkg-deb -x "$deb" "$target"; done
  )
  rm -rf "$apt"
}
