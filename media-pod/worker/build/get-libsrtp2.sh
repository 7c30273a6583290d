#!/bin/sh
# get-libsrtp2.sh FOLDER: unpack what the worker needs of Debian's libsrtp2 source package into
# FOLDER, so that SRTP runs on OpenSSL (Debian's own library runs on NSS: 2 to 4 times slower a
# packet). Takes the mirror from the machine's own sources, so no deb-src line is needed.
set -eu
dest=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/lists/partial" "$tmp/parts" "$tmp/src" "$tmp/out/test"
cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | sed -n 's/^deb /deb-src /p' > "$tmp/parts/src.list"
for file in /etc/apt/sources.list.d/*.sources; do
  if [ -f "$file" ]; then sed 's/^Types:.*/Types: deb-src/' "$file" > "$tmp/parts/$(basename "$file")"; fi
done
chmod 755 "$tmp"
apt="apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$tmp/parts -o Dir::State::lists=$tmp/lists"
cd "$tmp"
$apt update
$apt source --download-only libsrtp2
tar xf libsrtp2_*.orig.tar.* -C src --strip-components=1
cp -r src/LICENSE src/meson.build src/meson_options.txt src/crypto src/include src/srtp out/
cp src/test/meson.build out/test/ # its meson.build names this folder
mkdir -p "$(dirname "$dest")"
mv -T out "$dest"
