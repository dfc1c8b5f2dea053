# make demo        the main job on this machine, offline, from nothing and back to nothing
# make test        every test, with real programs, containers and packets
# make shared_lib  the programs and the library, into build/
# make check       what a change must pass: format, lints, documentation, fuzz targets
# make compatibility  plays the applications and writes their table into doc/compatibility.md
# make bench       the whole path beside the bare link and, with ZT_ONE=…, stock zerotier-one
.PHONY: demo test shared_lib check compatibility bench clean
.DEFAULT_GOAL := shared_lib

HOST    := $(shell rustc -vV | sed -n 's/^host: //p')
TARGET  := $(or $(CARGO_TARGET_DIR),target)
CARGO   := cargo
# Tests of programs that no package brings: the variables name them.
FEATURES = $(if $(ZT_ONE),stock) $(if $(ZT_DARKHTTPD),darkhttpd) $(if $(ZT_PYTHON2),python2)
SYSTEM  := $(CARGO) test --locked -p zt-tests
# An explicit target keeps the flag away from build scripts and procedural macros.
STATIC   = RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --locked --release --target $(HOST)

shared_lib:
	tests/prepare.sh build
	mkdir -p build
	$(CARGO) build --locked --profile preload -p ztintercept
	install -C -m 755 $(TARGET)/preload/libztintercept.so build/
	$(STATIC) -p zerotier-sdk-service
	install -C -m 755 $(TARGET)/$(HOST)/release/zerotier-sdk-service build/
	ln -sf zerotier-sdk-service build/zerotier-cli
	ln -sf zerotier-sdk-service build/zerotier-idtool
	$(STATIC) -p zt-launch
	install -C -m 755 $(TARGET)/$(HOST)/release/zt-launch build/
	ZT_PAYLOAD_DIR=$(CURDIR)/build $(STATIC) -p zt-run
	install -C -m 755 $(TARGET)/$(HOST)/release/zt-run build/

demo: shared_lib
	tests/demo.sh

test: shared_lib
	tests/prepare.sh
	tests/debian11.sh build/debian11
	$(CARGO) test --locked --workspace --exclude ztintercept --exclude zt-tests
	$(SYSTEM) --features '$(FEATURES)' -- --test-threads=1

compatibility: shared_lib
	tests/prepare.sh
	ZT_WRITE=1 $(SYSTEM) --features '$(FEATURES)' --test applications -- --test-threads=1

check:
	tests/prepare.sh build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --exclude ztintercept --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked --profile preload -p ztintercept -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --exclude ztintercept --no-deps
	$(CARGO) check --locked --manifest-path fuzz/Cargo.toml

bench: shared_lib
	tests/prepare.sh
	$(CARGO) build --locked --release -p zt-benches
	$(TARGET)/release/zt-bench

clean:
	$(CARGO) clean
	rm -rf build
