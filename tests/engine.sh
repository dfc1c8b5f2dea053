#!/bin/bash
# engine.sh - a private Docker engine in its own network and mount namespace: the host's links, addresses, routes, rules
# and packet filter are never touched, because the engine cannot see them.
#
#   engine.sh start      install what is missing, start the engine, print DOCKER_HOST=…
#   engine.sh stop       remove every container, stop the engine by its pid, delete its state
#   engine.sh restart    stop and start only the daemon (containers and volumes stay), as a reboot would
#   engine.sh env        print `export DOCKER_HOST=…` for eval
#   engine.sh pid        the pid of the daemon (`nsenter -t PID -n` looks at its network)
#   engine.sh in CMD…    run CMD in the engine's network namespace
#   engine.sh with CMD…  start, run CMD with DOCKER_HOST set, stop; the exit code is CMD's
#
# Environment: ENGINE_DIR  state directory (default ${TMPDIR:-/tmp}/zt-engine)
#              DOCKERD     daemon to start (default: dockerd in PATH)
set -u
ENGINE_DIR=${ENGINE_DIR:-${TMPDIR:-/tmp}/zt-engine}
SOCKET=$ENGINE_DIR/docker.sock
PIDFILE=$ENGINE_DIR/dockerd.pid
LOG=$ENGINE_DIR/log
export DOCKER_HOST=unix://$SOCKET

die() { echo "engine.sh: $*" >&2; exit 1; }

engine_pid() { # the daemon's pid, only if that process still is ours
	local p
	[ -s "$PIDFILE" ] || return 1
	p=$(cat "$PIDFILE")
	[ -d "/proc/$p" ] && tr '\0' ' ' < "/proc/$p/cmdline" | grep -qF -- "$ENGINE_DIR/data" && echo "$p"
}

ask() { curl -sf -m 2 --unix-socket "$SOCKET" "http://localhost$1"; }

launch() {
	rm -f "$SOCKET" "$PIDFILE"
	setsid unshare --net --mount --propagation private \
		sh -c 'ip link set lo up; exec "$0" "$@"' "${DOCKERD:-dockerd}" \
		--data-root "$ENGINE_DIR/data" --exec-root "$ENGINE_DIR/exec" --pidfile "$PIDFILE" -H "unix://$SOCKET" \
		>> "$LOG" 2>&1 < /dev/null &
	local i
	for i in $(seq 150); do
		ask /_ping >/dev/null && break
		sleep 0.1
	done
	local p; p=$(engine_pid) || die "the engine does not start: $(tail -n 3 "$LOG")"
	[ "$(readlink "/proc/$p/ns/net")" != "$(readlink /proc/self/ns/net)" ] || { kill "$p"; die "the engine is in the host's network"; }
	ask /_ping >/dev/null || die "the engine does not answer: $(tail -n 3 "$LOG")"
}

start() {
	[ "$(id -u)" = 0 ] || die "a private engine needs root; or name a reachable one with DOCKER_HOST"
	"$(dirname "$0")/install.sh" dockerd docker.io docker-compose docker-compose iptables iptables ip iproute2 \
		nsenter util-linux curl curl || die "could not install what is missing"
	mkdir -p "$ENGINE_DIR" || die "cannot make $ENGINE_DIR"
	engine_pid >/dev/null || launch
}

halt() { # end the daemon by its pid; containers with a restart policy come back at the next launch
	local p i
	p=$(engine_pid) || return 0
	kill "$p"
	for i in $(seq 300); do [ -d "/proc/$p" ] || return 0; sleep 0.1; done
	kill -9 "$p"; sleep 0.5
}

stop() {
	if engine_pid >/dev/null; then
		local ids; ids=$(ask '/containers/json?all=1' | grep -o '"Id":"[0-9a-f]*"' | cut -d'"' -f4 | sort -u)
		local id
		for id in $ids; do
			curl -sf -m 20 -X DELETE --unix-socket "$SOCKET" "http://localhost/containers/$id?force=1&v=1" >/dev/null
		done
		halt
	fi
	# The daemon's own mounts were private to its namespace and went with it.
	[ -d "$ENGINE_DIR" ] && { rm -rf --one-file-system "$ENGINE_DIR" 2>/dev/null || { sleep 1; rm -rf --one-file-system "$ENGINE_DIR"; }; }
	return 0
}

case "${1:-}" in
	start) start; echo "DOCKER_HOST=$DOCKER_HOST" ;;
	stop) stop ;;
	restart) engine_pid >/dev/null || die "not running"; halt; launch ;;
	env) echo "export DOCKER_HOST=$DOCKER_HOST" ;;
	pid) engine_pid || die "not running" ;;
	in) shift; p=$(engine_pid) || die "not running"; exec nsenter -t "$p" -n "$@" ;;
	with) shift; start; "$@"; rc=$?; stop; exit $rc ;;
	*) sed -n '2,17p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
