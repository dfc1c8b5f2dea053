#!/bin/bash
# containers.sh - zt-run, the base image and the compose file against a real engine, with real programs.
#
#   containers.sh            everything
#   containers.sh NAME…      only these parts (functions part_NAME below)
#
# Environment: DOCKER_HOST  the engine to use (default: a private one, started and stopped here)
#              BUILD        directory with zt-run, zerotier-sdk-service, libztintercept.so, zt-launch (default build/)
#              KEEP=1       leave the private engine running when done
set -u
cd "$(dirname "$0")/.."
BUILD=$(readlink -f "${BUILD:-build}")
PATH=$BUILD:$PATH
WORK=$(mktemp -d)
export ENGINE_DIR=${ENGINE_DIR:-${TMPDIR:-/tmp}/zt-engine-containers}
told=${DOCKER_HOST:-}
failed=0 lan=t1

for file in zt-run zerotier-sdk-service libztintercept.so zt-launch; do
	[ -s "$BUILD/$file" ] || { echo "containers.sh: $BUILD/$file is missing (make shared_lib)" >&2; exit 1; }
done

check() { # check TEXT COMMAND…
	local text=$1; shift
	if "$@"; then echo "ok    $text"; else echo "FAIL  $text"; failed=$((failed + 1)); fi
}
code() { local want=$1 got; shift; "$@"; got=$?; [ $got = "$want" ] || { echo "      exit code $got, not $want" >&2; return 1; }; }
says() { # says PATTERN CODE COMMAND…: fails with CODE and an error that matches
	local pattern=$1 want=$2 got; shift 2
	"$@" > "$WORK/out" 2> "$WORK/err"; got=$?
	[ $got = "$want" ] && grep -Eq -- "$pattern" "$WORK/err" && return 0
	echo "      exit code $got, error:" >&2; sed 's/^/      /' "$WORK/err" >&2; return 1
}
equal() { [ "$1" = "$2" ] || { echo "      got: $1" >&2; echo "      not: $2" >&2; return 1; }; }
nothing_left() { # of programs; the LAN stays
	local left; left=$(docker ps -aq --filter label=zt-run.name; docker volume ls -q --filter label=zt-run.name)
	[ -z "$left" ] || { docker ps -a; docker volume ls; return 1; } >&2
}
within() { # within SECONDS COMMAND…
	local end=$((SECONDS + $1)); shift
	until "$@" 2>/dev/null; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done
}
page() { zt-run -q --network $lan zt-test/curl curl -sS -m 10 "http://$1/"; }
has_page() { page "$1" | grep -q nginx; }
host_network() { ip -o link; ip -o address; ip route show table all; ip rule; cat /proc/sys/net/ipv4/ip_forward; iptables-save 2>/dev/null | grep -v '^#'; }
engine_objects() { docker network ls -q; docker ps -aq; docker volume ls -q; }

part_lan() {
	check "a LAN is made and prints its network id" eval '[[ $(zt-run -q lan create $lan) =~ ^[0-9a-f]{16}$ ]]'
	check "it is listed" eval 'zt-run lan ls | grep -q "^$lan .* private .* running"'
	check "a second one of that name is refused" says 'there is a LAN called' 125 zt-run lan create $lan
}

part_page() {
	check "nginx runs on the LAN, detached" eval 'web=$(zt-run -q --network $lan --name web -d zt-test/nginx)'
	check "its page comes over the LAN" has_page "$web"
	check "its page comes by its name" has_page web.local
	check "it is listed with its address and a direct path" eval "page $web >/dev/null; zt-run ps | tee $WORK/ps | grep -Eq '^web +zt-test/nginx +Up .* $lan +${web//./\\.} +'"
	check "nginx logs an address of the LAN" eval 'docker logs web 2>&1 | grep -q "^${web%.*}\.[0-9]* - - .*GET / "'
	check "JSON has the same" eval 'zt-run --json ps | grep -q "\"addresses\":\[\"$web\""'
}

part_sidecar() {
	local look='{{.Config.User}} {{.HostConfig.CapDrop}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Privileged}} {{.HostConfig.PortBindings}}'
	check "the sidecar has no privilege" equal "$(docker inspect -f "$look" web-zt)" "9993:9993 [ALL] true [no-new-privileges] false map[]"
	local size; size=$(docker inspect -f '{{.Size}}' "$(docker inspect -f '{{.Image}}' web-zt)")
	check "its image has at most 10 MB ($size bytes)" [ "$size" -le 10000000 ]
	local pid rss; pid=$(docker inspect -f '{{.State.Pid}}' web-zt); rss=$(awk '/^VmRSS/ {print $2}' "/proc/$pid/status")
	check "its service has at most 12 MB resident ($rss kB)" [ "$rss" -le 12288 ]
	check "the identity is in the volume, for its owner only" equal \
		"$(stat -c '%u %a' "$(docker volume inspect -f '{{.Mountpoint}}' web-zt-home)/identity.secret")" "9993 600"
	check "the sidecar is healthy" within 30 eval '[ "$(docker inspect -f "{{.State.Health.Status}}" web-zt)" = healthy ]'
}

part_program() {
	check "the program's exit code is zt-run's" code 7 zt-run -q --network $lan zt-test/curl sh -c 'exit 7'
	check "standard output is the program's only" equal "$(zt-run --network $lan zt-test/curl echo out 2>/dev/null)" out
	check "standard input reaches the program" equal "$(printf 'a\nb\n' | zt-run -q -i --network $lan zt-test/curl cat | tr '\n' ' ')" "a b "
	check "environment, user, directory" equal \
		"$(B=2 zt-run -q --network $lan -e A=1 -e B -u 33 -w /tmp zt-test/curl sh -c 'echo $A$B $(id -u) $(pwd)')" "12 33 /tmp"
	mkdir -p "$WORK/dir" && echo hello > "$WORK/dir/file"
	check "a directory is mounted" equal "$(zt-run -q --network $lan -v "$WORK/dir:/data:ro" zt-test/curl cat /data/file)" hello
	check "a read-only root is no obstacle" eval 'zt-run -q --read-only --network $lan zt-test/curl curl -sS -m 10 http://$web/ | grep -q nginx'
	check "a musl program reaches the LAN" eval 'zt-run -q --network $lan zt-test/musl $web 80 | grep -q nginx'
	check "a terminal has its size and exit code" eval \
		'script -qec "stty rows 33 cols 77; zt-run -q --network $lan -it zt-test/curl bash -c \"sleep 0.5; stty size; exit 4\"" /dev/null </dev/null > $WORK/tty; [ $? = 4 ] && grep -q "33 77" $WORK/tty'
	zt-run -q --network $lan zt-test/curl bash -c 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done' > "$WORK/signal" &
	local pid=$!
	within 20 grep -q ready "$WORK/signal"; kill -TERM $pid; wait $pid
	check "signals reach the program" equal $? 3
	docker rm -f web >/dev/null; zt-run ps >/dev/null
	check "nothing is left of all that" nothing_left
	web=$(zt-run -q --network $lan --name web -d zt-test/nginx)
}

part_launched() {
	local static go dns
	check "a static web server runs on the LAN" eval 'static=$(zt-run -q --network $lan --name static -d zt-test/busybox sh -c "
		busybox mkdir -p /tmp/www; echo static-page > /tmp/www/index.html; exec busybox httpd -f -p 80 -h /tmp/www")'
	check "a dynamic program fetches its page" eval 'within 20 eval "page $static | grep -q static-page"'
	check "a static program fetches a page" eval 'zt-run -q --network $lan zt-test/busybox busybox wget -q -O - "http://$web/" | grep -q nginx'
	check "and by its name" eval 'zt-run -q --network $lan zt-test/busybox busybox wget -q -O - http://web.local/ | grep -q nginx'
	check "a Go server runs on the LAN, as a normal user, read-only" eval \
		'go=$(zt-run -q --network $lan --name go -u 33 --read-only -d zt-test/web server :8080)'
	check "a dynamic program reaches it" eval 'within 20 eval "page $go:8080 | grep -q \" to $go:8080\""'
	check "a Go client, too" eval 'zt-run -q --network $lan -u 33 zt-test/web client "http://$go:8080/" 50 | grep -q "^50 .* to $go:8080"'
	check "and by its name" eval 'zt-run -q --network $lan -u 33 zt-test/web client http://go.local:8080/ 5 | grep -q "^5 .* to $go:8080"'
	docker network create zt-test-both >/dev/null && docker run -d --name zt-test-db --network zt-test-both zt-test/nginx >/dev/null
	local beside="zt-run -q --network $lan --docker-network zt-test-both" url
	for url in http://web.local/ http://zt-test-db/; do
		check "static programs find $url beside the engine's own names" eval '$beside zt-test/busybox busybox wget -q -O - $url | grep -q nginx'
		check "so do those in Go" eval '$beside zt-test/web client $url 2 | grep -q "^2 .*"'
	done
	docker rm -f zt-test-db >/dev/null; docker network rm zt-test-both >/dev/null
	check "Go's datagrams are on the LAN" eval 'dns=$(zt-run -q --network $lan --name dns -u 33 -d zt-test/web datagrams :8053) &&
		within 20 eval "zt-run -q --network $lan -u 33 zt-test/web ask $dns:8053 20 | grep -q \"^20 answers .* from $dns:8053\""'
	check "without capabilities and new privileges" eval 'docker run --rm --cap-drop ALL --security-opt no-new-privileges --read-only -u 1000 \
		-v go-zt-run:/run/zt:ro -e ZT_NC_NETWORK="$(docker inspect -f "{{range .Config.Env}}{{println .}}{{end}}" go | sed -n s/ZT_NC_NETWORK=//p)" \
		--entrypoint /run/zt/zt-launch zt-test/web /web client "http://$static/" 5 | grep -q "^5 static-page"'
	check "a dynamically linked Go program runs" eval 'zt-run -q --network $lan zt-test/golang | grep -q "^runc version"'
	check "a dynamic program is launched by force" eval 'zt-run -q --network $lan --launch always zt-test/curl curl -sS -m 10 "http://$web/" | grep -q nginx'
	check "the program's exit code is the launcher's" code 7 zt-run -q --network $lan zt-test/busybox sh -c 'exit 7'
	zt-run -q --network $lan zt-test/busybox sh -c 'trap "exit 3" TERM; echo ready; while :; do busybox sleep 0.1; done' > "$WORK/launched" &
	local pid=$!
	within 20 grep -q ready "$WORK/launched"; kill -TERM $pid; wait $pid
	check "signals pass through the launcher" equal $? 3
	check "a terminal, too" eval \
		'script -qec "stty rows 33 cols 77; zt-run -q --network $lan -it zt-test/busybox sh -c \"busybox sleep 0.5; busybox stty size; exit 4\"" /dev/null </dev/null > $WORK/tty; [ $? = 4 ] && grep -q "33 77" $WORK/tty'
	zt-run -q rm -f static go dns >/dev/null
}

part_refusals() {
	check "a static program without the launcher" says '/bin/busybox.* is statically linked.*bypass the LAN' 126 zt-run -q --network $lan --launch never zt-test/busybox
	check "a Go program without the launcher" says '/usr/sbin/runc.* is a Go program' 126 zt-run -q --network $lan --launch never zt-test/golang
	check "no such program" says 'nosuch.* is in no directory of the image.s PATH' 127 zt-run -q --network $lan zt-test/curl nosuch
	check "a file that is no program" says '/etc/passwd.* is not executable' 126 zt-run -q --network $lan zt-test/curl /etc/passwd
	check "no such image" says 'is not in the engine and cannot be pulled' 125 zt-run -q --network $lan zt-test/nosuch
	check "a name that is taken" says 'the name .web. is taken' 125 zt-run -q --network $lan --name web zt-test/nginx
	check "no such LAN" says 'no LAN is called .nosuch.*there are: t1' 125 zt-run -q --network nosuch zt-test/nginx
	local id; id=$(zt-run --json lan ls | grep -o '"network":"[0-9a-f]*"' | cut -d'"' -f4)
	check "a network that does not exist" says 'there is no network' 125 zt-run -q --network "${id:0:10}abcdef" zt-test/curl true
	docker run -d --name hog -p 8099:80 zt-test/nginx >/dev/null
	check "a port that is used" says 'port 8099 is already used by the container .hog.' 125 zt-run -q --network $lan -p 8099:80 zt-test/nginx
	docker rm -f hog >/dev/null
	local before; before=$(docker ps -q | sort)
	check "the program that ran is untouched" has_page "$web"
	check "refusals leave nothing" equal "$(docker ps -aq | sort)" "$before"
}

part_interrupts() {
	local before after delay; before=$(engine_objects | sort)
	for delay in 0.02 0.1 0.2 0.3 0.4 0.5 0.7 0.9 1.2; do
		timeout -s INT -k 30 $delay zt-run -q --network 1122334455667788 zt-test/curl true 2>/dev/null
	done
	after=$(engine_objects | sort)
	check "Ctrl-C at any stage leaves nothing" equal "$after" "$before"
	setsid zt-run -q --network $lan zt-test/curl bash -c 'trap "" INT; echo ready; sleep 1000' > "$WORK/stubborn" &
	local pid=$!
	within 20 grep -q ready "$WORK/stubborn"; kill -INT $pid; sleep 0.3; kill -INT $pid; sleep 0.7
	check "a second Ctrl-C is the program's to handle" kill -0 $pid
	kill -INT $pid; wait $pid
	check "the third one ends a stubborn program" equal $? 137
	check "and leaves nothing" equal "$(engine_objects | sort)" "$before"
}

part_lifecycle() {
	check "stop and start keep the address" eval 'zt-run stop web >/dev/null && equal "$(zt-run -q start web)" "$web" && has_page $web'
	zt-run -q --network $lan --rm -d --name brief zt-test/curl sleep 1 >/dev/null
	sleep 2; zt-run ps > /dev/null
	check "what -d --rm leaves is swept up" eval '! docker inspect brief brief-zt >/dev/null 2>&1'
	check "a running container is not removed by accident" says 'is running' 125 zt-run rm web
	check "a LAN with containers is not removed by accident" says 'containers are on the LAN' 125 zt-run lan rm $lan
	zt-run rm -f web >/dev/null
	check "rm leaves nothing" nothing_left
	check "members that are gone are forgotten" within 5 eval '[ "$(zt-run --json lan ls | grep -o "\"members\":[0-9]*")" = "\"members\":0" ]'
}

part_restart() {
	zt-run -q rm -f web >/dev/null 2>&1
	web=$(zt-run -q --network $lan --name web --restart unless-stopped -d zt-test/nginx)
	local before; before=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' zt-lan-$lan)
	if [ -n "$told" ]; then
		check "the containers restart" eval 'docker restart -t 2 zt-lan-$lan web-zt web >/dev/null'
	else
		check "the engine restarts" tests/engine.sh restart
	fi
	check "LAN and pair come back by themselves" within 60 has_page "$web"
	# Somebody else takes the root's address while it is away.
	before=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' zt-lan-$lan)
	docker stop -t 2 zt-lan-$lan >/dev/null
	local thief
	for _ in 1 2 3 4 5; do
		thief=$(docker run -d --label thief zt-test/nginx)
		[ "$(docker inspect -f '{{.NetworkSettings.IPAddress}}' "$thief")" = "$before" ] && break
	done
	docker start zt-lan-$lan >/dev/null
	check "the root has another address" eval '[ "$(docker inspect -f "{{.NetworkSettings.IPAddress}}" zt-lan-$lan)" != '"$before ]"
	check "members that were there and new ones find it" within 60 has_page "$web"
	docker restart web-zt >/dev/null
	check "a restarted sidecar serves its program again" within 60 has_page "$web"
	docker ps -aq --filter label=thief | xargs docker rm -f >/dev/null
	zt-run rm -f web >/dev/null
}

part_compose() {
	zt-run build-sidecar >/dev/null
	local network; network=$(zt-run -q lan create c1 --public)
	export ZT_NETWORK=$network ZT_LAN=c1 WEB_IMAGE=zt-test/nginx
	local compose="docker-compose -p zttest -f compose/web.yml"
	check "compose brings web and sidecar up" eval "$compose up -d > $WORK/compose 2>&1 || { cat $WORK/compose >&2; false; }"
	local address; address=$($compose exec -T web-zt /usr/bin/zerotier-cli get "$network" ip4 2>/dev/null | tr -d '\r')
	check "its page comes over the LAN ($address)" eval 'zt-run -q --network c1 zt-test/curl curl -sS -m 10 "http://$address/" | grep -q nginx'
	check "its page comes by the name in the file" eval 'zt-run -q --network c1 zt-test/curl curl -sS -m 10 http://web.local/ | grep -q nginx'
	$compose down -v > /dev/null 2>&1
	unset ZT_NETWORK ZT_LAN WEB_IMAGE
	zt-run lan rm c1 >/dev/null
}

part_base() {
	check "the base image builds" eval "docker build -q --build-arg BASE=zt-test/debian -t zt-test/mybase . > $WORK/build 2>&1 || { cat $WORK/build >&2; false; }"
	printf 'FROM zt-test/mybase\nRUN mkdir -p /srv/www && echo from-the-base-image > /srv/www/index.html\nCMD ["python3","-m","http.server","80","--directory","/srv/www"]\n' |
		docker build -q -t zt-test/myapp - >/dev/null 2>&1
	check "without a network the program just runs" equal "$(docker run --rm zt-test/myapp echo plain)" plain
	local network; network=$(zt-run -q lan create b1 --public)
	docker run -d --name myapp -e ZT_NETWORK="$network" -e ZT_PLANET=/lan/planet -v zt-lan-b1-planet:/lan:ro zt-test/myapp >/dev/null
	local address
	within 30 eval 'docker logs myapp 2>&1 | grep -q "zt-entrypoint: .* is "'
	address=$(docker exec myapp zerotier-cli get "$network" ip4)
	check "a program in one container is on the LAN ($address)" eval \
		'within 20 eval "zt-run -q --network b1 zt-test/curl curl -sS -m 10 http://$address/ | grep -q from-the-base-image"'
	[ $failed = 0 ] || docker logs myapp >&2
	docker rm -fv myapp >/dev/null
	printf 'FROM zt-test/mybase\nCOPY --from=zt-test/web /web /web\nENV ZT_LAUNCH=always\nCMD ["sh", "-c", "exec /web server :8080"]\n' |
		docker build -q -t zt-test/mygo - >/dev/null 2>&1
	docker run -d --name mygo -e ZT_NETWORK="$network" -e ZT_PLANET=/lan/planet -v zt-lan-b1-planet:/lan:ro zt-test/mygo >/dev/null
	within 30 eval 'docker logs mygo 2>&1 | grep -q "zt-entrypoint: .* is "'
	address=$(docker exec mygo zerotier-cli get "$network" ip4)
	check "so is a Go program ($address)" eval \
		'within 20 eval "zt-run -q --network b1 zt-test/curl curl -sS -m 10 http://$address:8080/ | grep -q \" to $address:8080\""'
	[ $failed = 0 ] || docker logs mygo >&2
	docker rm -fv mygo >/dev/null
	zt-run lan rm b1 >/dev/null
}

all="lan page sidecar program launched refusals interrupts lifecycle restart compose base"
before=$(host_network)
if [ -z "$told" ]; then
	tests/engine.sh start >/dev/null || exit 1
	eval "$(tests/engine.sh env)"
fi
finish() {
	local code=$?
	trap - EXIT INT TERM
	if [ -n "$told" ]; then zt-run -q rm -f web >/dev/null 2>&1; for lan in t1 b1 c1; do zt-run -q lan rm -f $lan >/dev/null 2>&1; done
	elif [ -n "${KEEP:-}" ]; then echo "the engine is left running: DOCKER_HOST=$DOCKER_HOST"; else tests/engine.sh stop; fi
	rm -rf "$WORK"
	exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM
tests/images.sh nginx curl busybox golang web musl debian || exit 1
networks=$(docker network ls --format '{{.Name}}' | sort)
objects=$(docker ps -aq; docker volume ls -q)
web=$(zt-run --json ps 2>/dev/null | grep -o '"addresses":\["[0-9.]*' | grep -o '[0-9.]*$' | head -n 1)
for part in ${*:-$all}; do
	echo "# $part"
	"part_$part"
done
if [ $# = 0 ]; then
	zt-run lan rm $lan >/dev/null
	check "zt-run made no network of the engine" equal "$(docker network ls --format '{{.Name}}' | sort)" "$networks"
	check "no container and no volume is left" equal "$(docker ps -aq; docker volume ls -q)" "$objects"
	check "the host's network is as it was" equal "$(host_network)" "$before"
fi
[ $failed = 0 ] && echo "all well" || { echo "$failed failed"; exit 1; }
