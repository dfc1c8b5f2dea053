#!/bin/bash
# demo.sh - the main job on this machine, from nothing to a page fetched over an encrypted LAN, and back to nothing.
#
# Uses the engine that DOCKER_HOST names or that answers at the usual socket; otherwise starts a private one in a
# network namespace of its own and stops it at the end. Proves that the host's network is the same afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/build:$PATH
LAN=demo-$$ WEB=demo-web-$$

if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
show() { printf '%s$ %s%s\n' "$bold" "$*" "$plain"; "$@"; }

host_network() { # everything that a container tool might leave in the host's network
	network_state | sed '/docker0.*\(fe80:\|ff00:\)/d; s/ linkdown//' # an engine's bridge wakes up with its first container
}
network_state() {
	ip -o link | sed 's/ qlen.*//; s/state [A-Z]*//'
	ip -o address | sed 's/valid_lft.*//; s/preferred_lft.*//'
	ip route show table all
	ip -6 route show table all | sed 's/ expires [0-9]*sec//'
	ip rule
	ip netns list
	sysctl -n net.ipv4.ip_forward
	for tool in iptables-save ip6tables-save; do command -v $tool >/dev/null && $tool 2>/dev/null | sed '/^#/d; s/\[[0-9:]*\]//'; done
	if command -v nft >/dev/null; then nft list ruleset 2>/dev/null; fi
	return 0
}

before=$(host_network)
private=
our_images() { docker image ls --format '{{.Repository}}:{{.Tag}}' 2>/dev/null | grep -E '^zt-(test/|sidecar)' | sort; }
images=$(our_images || true)
finish() {
	code=$?
	trap - EXIT INT TERM
	zt-run -q rm -f "$WEB" "$WEB-client" >/dev/null 2>&1 || true
	zt-run -q lan rm -f "$LAN" >/dev/null 2>&1 || true
	if [ -n "$private" ]; then tests/engine.sh stop || true
	else comm -13 <(echo "$images") <(our_images) | xargs -r docker rmi >/dev/null 2>&1 || true; fi
	exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

if docker info >/dev/null 2>&1; then
	say "using the engine that is here: ${DOCKER_HOST:-the default socket}"
else
	say "no engine answers: starting a private one in its own network namespace"
	private=1
	export ENGINE_DIR=${ENGINE_DIR:-$(mktemp -d "${TMPDIR:-/tmp}/zt-demo.XXXXXX")}
	tests/engine.sh start
	eval "$(tests/engine.sh env)"
fi

say "two ordinary images out of Debian packages: nginx as it is, and curl"
tests/images.sh nginx curl

say "a LAN of one's own: planet root and controller in one small container, no account"
show zt-run lan create "$LAN"

say "an unmodified nginx on it; the address is printed first"
show zt-run -d --network "$LAN" --name "$WEB" zt-test/nginx | tee "${TMPDIR:-/tmp}/$WEB"
address=$(grep -oE '([0-9]+\.){3}[0-9]+' "${TMPDIR:-/tmp}/$WEB" | head -n 1)
rm -f "${TMPDIR:-/tmp}/$WEB"

say "its page, fetched over the LAN by a second container"
page=$(zt-run -q --network "$LAN" zt-test/curl curl -sS -m 20 --retry 20 --retry-delay 1 --retry-connrefused "http://$address/")
printf '%s\n' "$page" | head -n 5
case $page in *nginx*) ;; *) echo "demo: that is not nginx's page" >&2; exit 1 ;; esac

say "who is where"
show zt-run lan ls
show zt-run -d --network "$LAN" --name "$WEB-client" zt-test/curl bash -c "while sleep 1; do curl -s -o /dev/null http://$address/; done" >/dev/null
sleep 3
show zt-run ps
table=$(zt-run ps --json)
zt-run -q rm -f "$WEB-client" >/dev/null
case $table in *direct*) ;; *) echo "demo: no direct path" >&2; exit 1 ;; esac

say "cleaning up"
zt-run -q rm -f "$WEB" >/dev/null
show zt-run lan rm "$LAN"
left=$(docker ps -aq; docker volume ls -q | grep "$LAN" || true)
[ -z "$private" ] || [ -z "$left" ] || { echo "demo: left behind: $left" >&2; exit 1; }
if [ -n "$private" ]; then tests/engine.sh stop; private=; rm -rf "$ENGINE_DIR"; fi

say "the host's links, addresses, routes, rules and packet filter, before and after"
after=$(host_network)
if ! diff <(printf '%s\n' "$before") <(printf '%s\n' "$after"); then
	echo "demo: the host's network has changed" >&2
	exit 1
fi
printf 'the same: %s lines compared\n' "$(printf '%s\n' "$before" | wc -l)"
