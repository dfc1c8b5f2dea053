#!/bin/bash
# debian11.sh FOLDER - unpacks the C library of Debian 11 (glibc 2.31) with its headers into FOLDER, where the tests build
# programs for it. Nothing of it is installed. The packages come from where this machine's own come from.
set -eu
folder=$(realpath -m "$1")
[ -e "$folder/usr/include/stdio.h" ] && exit 0
list() { # of "address suite", the machine's own archive of Debian
	apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 'Component: main' 'Origin: Debian'
}
mirror=$(list | awk '$2 !~ /-/ { print $1; exit }')
[ -n "$mirror" ] || {
	echo "debian11.sh: apt knows no archive of Debian; run apt-get update first" >&2
	exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# As root, apt reads and fetches as a user of its own.
chmod 755 "$scratch"
mkdir -p "$scratch"/lists/partial "$scratch"/cache/archives/partial "$scratch"/packages "$scratch"/root
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bullseye main" >"$scratch/sources.list"
cat >"$scratch/apt.conf" <<-EOF
	Dir::Etc::sourcelist "$scratch/sources.list";
	Dir::Etc::sourceparts "-";
	Dir::State::lists "$scratch/lists";
	Dir::State::status "/dev/null";
	Dir::Cache "$scratch/cache";
	APT::Sandbox::User "root";
EOF
export APT_CONFIG=$scratch/apt.conf
{
	apt-get -qq update
	cd "$scratch/packages"
	apt-get -qq download libc6 libc6-dev linux-libc-dev
} >&2
for package in *.deb; do dpkg-deb -x "$package" "$scratch/root"; done
# The loader's name for the linker: the package's link is absolute and would lead to the machine's own.
for link in "$scratch"/root/lib64/*; do
	target=$(readlink "$link")
	ln -sfn "..$target" "$link"
done
mkdir -p "$(dirname "$folder")"
rm -rf "$folder"
mv "$scratch/root" "$folder"
