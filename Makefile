# What to type. Each target first installs what it needs and says so; scripts/ has the how.

# Outside the clone, so that a new clone compiles only what is its own. One folder and one
# profile (release) for programs, tests and benchmarks.
export MAFALDA_CACHE ?= $(HOME)/.cache/mafalda
export CARGO_TARGET_DIR ?= $(MAFALDA_CACHE)/target
# A Node.js that scripts/setup may have installed; and where rustup puts cargo, which a shell
# finds only after the next login.
export PATH := $(MAFALDA_CACHE)/node:$(PATH):$(HOME)/.cargo/bin

.PHONY: help demo test test-cluster setup-test-cluster soak build-kubernetes images kind lint bench

help:
	@echo 'make demo    start a video conference on this machine and print its address (PORT=3000)'
	@echo 'make test    run all tests: Rust, unmodified mediasoup applications, real browsers'
	@echo 'make test-cluster  run the operator on a real Kubernetes, built once (10 min); needs root'
	@echo 'make soak    many sessions, applications that come and go, faults at random (MAFALDA_SOAK=100,600)'
	@echo 'make images  make image archives of pod, operator and conference, without a container engine'
	@echo 'make kind    a cluster in docker, with the chart and the conference on it'
	@echo 'make lint    check format and style of all code'
	@echo 'make bench   measure remote and virtual workers, gateway and pipes'

demo:
	@scripts/setup demo
	@scripts/build --bins
	@scripts/demo

test:
	@scripts/setup test
	@scripts/build --all-targets --rust-remote
	@scripts/test

ifeq ($(MAFALDA_CLUSTER_TESTS),off)
test-cluster:
	@echo 'mafalda: no tests on a cluster, as MAFALDA_CLUSTER_TESTS=off says'
	@echo '0 passed, 0 failed'
else
test-cluster: setup-test-cluster
	@scripts/build --all-targets
	@tests/cluster/build all
	@scripts/test cluster
endif

# The two that .ci/run has begun with before it comes to test-cluster.
setup-test-cluster:
	@scripts/setup test-cluster
	@tests/cluster/cluster check

soak: setup-test-cluster
	@scripts/build --all-targets
	@tests/cluster/build all
	@MAFALDA_SOAK=$${MAFALDA_SOAK:-100,600} scripts/test cluster/soak

build-kubernetes:
	@tests/cluster/build all

images:
	@scripts/setup demo
	@scripts/build --bins
	@scripts/images
	@examples/kubernetes/image

kind:
	@scripts/setup demo
	@scripts/build --bins
	@scripts/kind

lint:
	@scripts/setup lint
	@scripts/lint

bench:
	@scripts/setup bench
	@scripts/build --bins --rust-remote
	@npm --prefix tests run bench
	@cargo bench -p mafalda-virtual-worker --bench machine
