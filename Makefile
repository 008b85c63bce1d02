# make test    all tests, with the race detector; installs what they need
# make lint    gofmt, go mod tidy, go vet (also for 32 bits), staticcheck
# make fuzz    every fuzz target for FUZZTIME each
# make soak    the long versions of the race, soak and flood tests, and of those
#              of the contract of stores and of several instances
# make bench   every benchmark of ours, summed up by benchstat; OLD=file compares
# make bench-peers   ours beside other libraries, in ROUNDS rounds; writes the
#                    tables of docs/benchmarks.md; needs idle processors
# make api     writes api.txt anew

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c

GO        ?= go
FUZZTIME  ?= 30s
BENCH     ?= .
BENCHTIME ?= 1s
COUNT     ?= 6
ROUNDS    ?= 5
OLD       ?=

# The tests that CLOAKROOM_SOAK=1 makes longer.
LONG := Race|Soak|Flood|Contract|^TestMemoryStore$$|^Test(PostgreSQL|MariaDB|SQLite|Cluster)$$/^(contract|tables|several_instances|index|index_race)$$

# Every module of the repository, the root first.
MODULES := . $(sort $(shell find . -mindepth 2 -name go.mod -not -path '*/testdata/*' | sed 's|/go.mod$$||'))

# The packages of the root whose tests take longest begin first, so that none of
# them is alone at the end.
ROOT := ./internal/rotation ./cmd/keygen ./middleware ./token ./internal/keyset ./...

# The other modules, and the simulations of internal/rotation without the race
# detector, which only compute. What takes longest begins first here, too.
SLOW   := ./opaque/sqlstore simulations ./opaque/redisstore ./e2e
OTHERS := $(SLOW) $(filter-out . $(SLOW),$(MODULES))

# The packages of the modules in go.work.
WORKSPACE := ./... ./cmd/demo/... ./cmd/sessions/... ./grpcauth/... ./opaque/memcachestore/... ./opaque/redisstore/... ./opaque/sqlstore/... ./otelcloakroom/...

# Without gin's codec for MessagePack, which takes a minute to compile, and with
# every store of the demo.
PLAIN := $(shell $(GO) env GOFLAGS)
export GOFLAGS := $(PLAIN) -tags=nomsgpack,redis,postgres,mysql,sqlite

# Each module stands alone, as for those who import it. go.work is for people
# who type go run ./cmd/demo or ./cmd/sessions.
export GOWORK := off

.PHONY: test lint fuzz soak bench bench-peers api needs
.SILENT:

# How long a program waits at its end for a goroutine that is about to report a
# race, in milliseconds. The race detector's own second adds up: there are many
# programs.
export GORACE := atexit_sleep_ms=100

# Tests that count something write it to the file TEST_REPORT.
REPORTED = report=$$(mktemp); trap "rm -f $$report" EXIT; export TEST_REPORT=$$report

# The libraries for Node of the tests in interop, in the versions of their
# package-lock.json. Without npm the tests skip what needs it.
LIBRARIES := interop/node_modules/.package-lock.json
$(LIBRARIES): interop/package-lock.json | needs
	! command -v npm >/dev/null || npm --prefix interop ci --ignore-scripts --no-audit --no-fund || [ "$${CI:-}" != true ]

# The race detector needs a C compiler; needs has refused to go on without one,
# unless there is no way to install it.
#
# The tests of the modules mostly wait for servers and disks, so three run side by
# side. What one prints comes in one piece when it ends; mkdir is the lock. One
# that fails doesn't stop the others. go vet is for make lint.
#
# GOGC=400 takes a tenth off the time to compute, and a third off that of the
# simulations. Tests that measure memory collect the garbage first.
test: needs $(LIBRARIES)
	summary=$$(mktemp -d); $(REPORTED); trap 'rm -rf "$$summary" "$$report"' EXIT; \
	$(GO) -C tools build -o "$$summary/summary" ./summary; \
	race=-race; command -v "$$($(GO) env CC)" >/dev/null || race=; export summary race; \
	export GOGC=$${GOGC:-400}; \
	tests() { \
		echo "== test $$1"; \
		case $$1 in \
		simulations) \
			[ ! -w /dev/shm ] || export TMPDIR=/dev/shm; \
			$(GO) test -json -timeout 30m -vet=off -run '^Test(Simulation|Soak)' ./internal/rotation ;; \
		*) $(GO) -C "$$1" test -json -timeout 30m -vet=off $$race -shuffle=on "$${@:2}" ;; \
		esac | "$$summary/summary" "$$summary/skipped.$${1//\//-}"; \
	}; \
	aside() { \
		out=$$(tests "$$1" ./... 2>&1) && failed= || failed=1; \
		until mkdir "$$summary/printing" 2>/dev/null; do sleep 0.1; done; \
		printf '%s\n' "$$out"; rmdir "$$summary/printing"; [ -z "$$failed" ]; \
	}; \
	tests . $(ROOT); \
	export -f tests aside; printf '%s\n' $(OTHERS) | xargs -P 3 -I{} bash -o pipefail -c 'aside {}'; \
	echo "== counts"; cat $$report; \
	skipped=$$(awk 'NF { printf "%s%s", sep, $$0; sep = "; " }' "$$summary"/skipped.*); \
	[ -n "$$race" ] || skipped="the race detector (no C compiler)$${skipped:+; $$skipped}"; \
	echo "== all tests passed; skipped: $${skipped:-nothing}"

# What the tests need beyond Go: a C compiler for the race detector, other
# people's tools that read our keys, and the reverse, the servers of stores, and
# a browser. A new test that needs a program skips without it, or fails if
# CI=true, and has a line here: a command that tells whether it is there, and its
# Debian packages. The command is a name, or runs, as in ruby -rjwt -e 1. Debian
# keeps some servers out of PATH.
#
# Where there is no apt-get, make says what is missing, and the tests skip what
# needs it.
needs:
	PATH=$$PATH:/usr/sbin:$$(printf '%s:' /usr/lib/postgresql/*/bin); missing=; packages=; \
	have() { case "$$1" in *\ *) eval "$$1" >/dev/null 2>&1;; *) command -v "$$1" >/dev/null;; esac; }; \
	need() { have "$$1" || { missing="$$missing $$1,"; shift; packages="$$packages $$*"; }; }; \
	all() { \
		missing=; packages=; \
		need "$$($(GO) env CC)" gcc libc6-dev; \
		need jose jose; \
		need openssl openssl; \
		need ssh-keygen openssh-client; \
		need memcached memcached; \
		need postgres postgresql; \
		need mariadbd mariadb-server; \
		need redis-server redis-server; \
		need redis-sentinel redis-sentinel; \
		need "command -v chromium chromium-browser google-chrome google-chrome-stable" chromium; \
		need haproxy haproxy; \
		need apache2 apache2-bin; \
		need "ls /usr/lib/apache2/modules/mod_auth_openidc.so" libapache2-mod-auth-openidc; \
		need "ls /usr/lib/apache2/modules/mod_oauth2.so" libapache2-mod-oauth2; \
		need node nodejs; \
		need npm npm; \
		need "/usr/bin/python3 -c 'import jwt'" python3-jwt; \
		need "/usr/bin/python3 -c 'import jwcrypto'" python3-jwcrypto; \
		need "/usr/bin/python3 -c 'import authlib'" python3-authlib; \
		need "ruby -rjwt -e 1" ruby ruby-jwt; \
		need "perl -MCrypt::JWT -e 1" libcrypt-jwt-perl; \
		need "perl -MIO::Socket::SSL -e 1" libio-socket-ssl-perl; \
		need curl curl; \
	}; \
	all; [ -n "$$missing" ] || exit 0; \
	if command -v apt-get >/dev/null; then \
		echo "== apt-get install$$packages"; \
		if [ "$$(id -u)" = 0 ]; then root=; else root=sudo; fi; \
		$$root apt-get update -q </dev/null; \
		$$root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$packages </dev/null; \
		hash -r; all; \
		[ -z "$$missing" ] || { echo "still missing after apt-get install:$${missing%,}"; exit 1; }; \
	else \
		echo "== missing:$${missing%,}"; \
		echo "There is no apt-get here. Install these with your package manager; Debian has them in:$$packages"; \
		[ "$${CI:-}" != true ] || { echo "CI=true: a missing program is a failure"; exit 1; }; \
	fi

# staticcheck and benchstat have their versions in tools/go.mod. Our packages must
# also compile for 32 bits, where an int is too small for many of our numbers.
lint:
	echo "== gofmt"; unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "run gofmt -w on:" $$unformatted; exit 1; }
	staticcheck=$$($(GO) -C tools tool -n staticcheck); export staticcheck; \
	check() { \
		found=$$(cd "$$1" && { $(GO) mod tidy -diff && $(GO) vet ./... && "$$staticcheck" ./...; } 2>&1) && failed= || failed=1; \
		echo "== go mod tidy, vet, staticcheck $$1"; [ -z "$$found" ] || echo "$$found"; [ -z "$$failed" ]; \
	}; \
	export -f check; printf '%s\n' $(MODULES) | xargs -P 2 -I{} bash -c 'check {}'
	echo "== vet for 386"; GOARCH=386 $(GO) vet ./...
	echo "== go.work, and the demo without tags"; sums=$$(cat go.work.sum); \
	export GOWORK=$$PWD/go.work GOFLAGS='$(PLAIN)'; $(GO) vet ./... ./cmd/demo; $(GO) list -deps -test $(WORKSPACE) >/dev/null; \
	[ "$$sums" = "$$(cat go.work.sum)" ] || { echo "go.work.sum was not complete; commit what it is now"; exit 1; }

# The fuzzer reports the end of its time as an error now and then, without an
# input that fails: "context deadline exceeded" is no finding.
fuzz:
	found=0; log=$$(mktemp); trap 'rm -f '$$log EXIT; \
	for m in $(MODULES); do \
		packages=$$($(GO) -C $$m list ./...); \
		for p in $$packages; do \
			names=$$($(GO) -C $$m test -list '^Fuzz' $$p); \
			for f in $$(grep '^Fuzz' <<<"$$names"); do \
				echo "== fuzz $$p $$f"; found=1; \
				$(GO) -C $$m test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $$p 2>&1 | tee $$log || \
					{ grep -q 'context deadline exceeded' $$log && ! grep -q 'Failing input' $$log; }; \
			done; \
		done; \
	done; \
	[ $$found = 1 ] || { echo "no fuzz targets"; exit 1; }

soak:
	$(REPORTED); for m in $(MODULES); do echo "== soak $$m"; CLOAKROOM_SOAK=1 $(GO) -C $$m test -count 1 -timeout 60m -run '$(LONG)' ./...; done; echo "== counts"; cat $$report

bench:
	mkdir -p .bench
	benchstat=$$($(GO) -C tools tool -n benchstat); new=.bench/$$(date +%Y%m%d-%H%M%S).txt; \
	for m in $(filter-out ./benchmarks,$(MODULES)); do $(GO) -C $$m test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -count $(COUNT) -timeout 120m ./...; done | tee $$new; \
	"$$benchstat" $(OLD) $$new; echo "kept in $$new"

# A round measures everything once, so that what else happens on the machine
# meets all peers. The volumes take long and vary little: two rounds.
bench-peers: needs
	mkdir -p .bench
	benchstat=$$($(GO) -C tools tool -n benchstat); new=$(CURDIR)/.bench/peers-$$(date +%Y%m%d-%H%M%S).txt; \
	bin=$$(mktemp -d); trap "rm -rf $$bin" EXIT; \
	$(GO) -C benchmarks test -tags goredis -c -o "$$bin/benchmarks" .; cd benchmarks; \
	for round in $$(seq $(ROUNDS)); do \
		skip=; [ $$round -le 2 ] || skip=Volume; \
		"$$bin/benchmarks" -test.run '^$$' -test.bench '$(BENCH)' -test.skip "$$skip" -test.benchtime 200ms -test.benchmem -test.timeout 60m; \
	done | tee "$$new"; \
	"$$benchstat" -col /peer "$$new"; echo "kept in $$new"; \
	$(GO) run ./report ../docs/benchmarks.md <"$$new"

api:
	$(GO) test -run '^TestAPI$$' . -update
