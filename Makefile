# Carillon. `make` alone lists what there is.
.DEFAULT_GOAL := help
# One cargo at a time: each uses every core, and they would wait for each other's lock.
.NOTPARALLEL:
.PHONY: help run build plugins guests javascript test crash-test operations-test booking-test bench clean

# Where `make run` keeps its data.
DATA ?= data
# One profile for everything, so that wasmtime and librdkafka are compiled once.
CARGO = cargo
FLAGS = --release --locked
STAGE = @sh tests/stage.sh
BIN = target/release/carillon
SHIPPED = booking-updates waitlist-updates conflict-alerts

help:
	@echo "make run              build everything and start it here: no Kafka, no database needed"
	@echo "make test             every check and every test, with Apache Kafka, the npm client, schemathesis and a browser"
	@echo "make crash-test       the long crash test: 20,000 events, 50 kills of the host, 10 of the booking API"
	@echo "make operations-test  the long test of what operators do: swaps at 2,000 events/s with 200 clients, and more"
	@echo "make booking-test     the long test of the booking API: fights and waitlists of a minute each, under kill -9"
	@echo "make bench            measures, and prints the table of docs/performance.md"
	@echo "make build            the binary, $(BIN)"
	@echo "make plugins          the plugins that ship, as target/plugins/*.wasm"
	@echo "make guests           the test guests, as target/guests/*.wasm"
	@echo "make javascript       the plugin in JavaScript, as target/guests/hello-javascript.wasm; needs Node.js"
	@echo "make clean            removes what was built; data stays"

run:
	$(STAGE) "set-up" sh tests/setup.sh run
	$(STAGE) "build" $(MAKE) --no-print-directory build plugins
	@mkdir -p $(DATA)/plugins
	@for plugin in $(SHIPPED); do cp target/plugins/$$plugin.wasm $(DATA)/plugins/; done
	@echo
	@echo "Open the gateway's address below in a browser: book a room there and see the push."
	@exec $(BIN) run --demo --data $(DATA)

build:
	$(CARGO) build $(FLAGS) --bins

plugins:
	bash plugins/build.sh

guests:
	bash plugins/build.sh --guests

# A plugin in another language; needs Node.js, which `make run` does not, and `npm ci` in its folder,
# which the set-up of `make test` does.
javascript:
	node examples/hello-javascript/build.mjs target/guests/hello-javascript.wasm

# Every cargo below selects the same packages (the workspace's default members) and differs only in
# which targets it runs: cargo unites the features of what is selected, so another selection would
# compile dependencies again.
# The tests that need Kafka, Node, Python or a browser have `test = false`, and are run here by name.
test:
	$(STAGE) "set-up" sh tests/setup.sh test
	$(STAGE) "format" $(CARGO) fmt --all --check
	$(STAGE) "clippy" $(CARGO) clippy $(FLAGS) --workspace --all-targets -- -D warnings
	$(STAGE) "clippy, tests by name" $(CARGO) clippy $(FLAGS) --workspace --test '*' -- -D warnings
	$(STAGE) "licences and advisories" $(MAKE) --no-print-directory check-dependencies
	$(STAGE) "build" $(CARGO) build $(FLAGS) --bins --tests
	$(STAGE) "build, tests by name" $(CARGO) build $(FLAGS) --test '*'
	$(STAGE) "plugins" $(MAKE) --no-print-directory plugins
	$(STAGE) "guests" $(MAKE) --no-print-directory guests javascript
	$(STAGE) "native tests" $(CARGO) test $(FLAGS)
	$(STAGE) "Apache Kafka: the broker itself" $(CARGO) test $(FLAGS) --test apache_kafka
	$(STAGE) "Apache Kafka: samples" $(CARGO) test $(FLAGS) --test samples -- --nocapture
	$(STAGE) "Apache Kafka: hostile guests" $(CARGO) test $(FLAGS) --test hostile -- --nocapture --test-threads 2
	$(STAGE) "Apache Kafka: operations" $(CARGO) test $(FLAGS) --test operations -- --nocapture --test-threads 2
	$(STAGE) "Apache Kafka: booking service" $(CARGO) test $(FLAGS) --test booking_service -- --nocapture --test-threads 2
	$(STAGE) "Apache Kafka: crashes" $(CARGO) test $(FLAGS) --test crash -- --nocapture --test-threads 1
	$(STAGE) "embedded broker: crashes" $(CARGO) test $(FLAGS) --test embedded -- --nocapture --test-threads 1
	$(STAGE) "npm client" $(CARGO) test $(FLAGS) --test centrifuge -- --nocapture --test-threads 1
	$(STAGE) "browser" $(CARGO) test $(FLAGS) --test page -- --nocapture

.PHONY: check-dependencies
check-dependencies:
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check bans licenses sources; \
	else echo "skipped: cargo-deny is not installed (cargo install cargo-deny)"; fi

crash-test:
	$(STAGE) "set-up" sh tests/setup.sh test
	$(STAGE) "build" $(CARGO) build $(FLAGS) --bins
	$(STAGE) "plugins and guests" $(MAKE) --no-print-directory plugins guests
	$(STAGE) "crashes on Apache Kafka, long form" env CRASH_EVENTS=20000 CRASH_KILLS=50 CRASH_BOOKING_KILLS=10 CRASH_BOOKINGS=1000 \
		$(CARGO) test $(FLAGS) --test crash -- --nocapture --test-threads 1
	$(STAGE) "crashes with the embedded broker, long form" env CRASH_EMBEDDED_BOOKINGS=1000 CRASH_EMBEDDED_KILLS=20 \
		$(CARGO) test $(FLAGS) --test embedded -- --nocapture --test-threads 1

operations-test:
	$(STAGE) "set-up" sh tests/setup.sh test
	$(STAGE) "build" $(MAKE) --no-print-directory build
	$(STAGE) "plugins and guests" $(MAKE) --no-print-directory plugins guests javascript
	$(STAGE) "operations on Apache Kafka, long form" env OPERATIONS=long \
		$(CARGO) test $(FLAGS) --test operations -- --nocapture --test-threads 1

booking-test:
	$(STAGE) "set-up" sh tests/setup.sh test
	$(STAGE) "build" $(MAKE) --no-print-directory build
	$(STAGE) "plugins" $(MAKE) --no-print-directory plugins
	$(STAGE) "booking service on Apache Kafka, long form" env BOOKING=long \
		$(CARGO) test $(FLAGS) --test booking_service -- --nocapture --test-threads 1

bench:
	$(STAGE) "set-up" sh tests/setup.sh test
	$(STAGE) "build" $(CARGO) build $(FLAGS) --bins
	$(STAGE) "plugins and guests" $(MAKE) --no-print-directory plugins guests
	$(STAGE) "criterion" $(CARGO) bench --locked --bench '*'
	$(STAGE) "load" target/release/load
	$(STAGE) "operations" target/release/operations_bench
	$(STAGE) "booking service" target/release/booking_bench

clean:
	$(CARGO) clean
