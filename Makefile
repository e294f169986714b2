# Two commands do all the set-up: `make demo` and `make test`. Nothing is installed outside $(VENV).
# Another Python: make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# What needs a cluster's packages has an environment of its own: `make cluster`.
CLUSTER_PLUGINS = plugins/streamkit-dask plugins/streamkit-ray
PLUGINS = $(filter-out $(CLUSTER_PLUGINS),$(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml)))
READY = $(VENV)/.ready

CLIENTS = .clients
CLUSTER = .cluster
SITE = .site
PEERS = .peers

.PHONY: demo test cover lint docs pictures bench soak fuzz clients cluster peers dist wheels lock clean

demo: $(READY)
	$(BIN)/streamkit demo

test: $(READY)
	$(BIN)/python -m tests.halves $(ARGS)

cover: $(READY)
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m tests.docs.pages .pages
	$(BIN)/mypy --config-file tests/docs/mypy.ini .pages
	$(BIN)/pyright --project .pages --pythonpath $(BIN)/python

# The documentation site, in build/site. Any warning, broken link or page outside of the navigation is an error.
docs: $(SITE)/.ready
	$(SITE)/bin/python -m tests.docs.site

$(SITE)/.ready: $(READY) requirements/docs.txt tests/docs/site/javascript/package-lock.json
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/docs.txt
	$(BIN)/python -m tests.docs.site.finish $(SITE)
	touch $@

# The pictures of the README and the site, each from a real run; commit them when what they show has changed.
pictures: $(READY) $(SITE)/.ready
	PATH="$(abspath $(BIN)):$$PATH" $(SITE)/bin/python -m tests.docs.site.terminal docs/assets/demo.svg streamkit demo
	$(BIN)/python -m tests.docs.site.timeline docs/assets/streaming.svg

# Each as a ratio within its own run. Where they are installed, httpx-sse with httpx, and uvloop, are measured as well.
bench: $(READY)
	$(BIN)/python -m tests.benchmarks.pipeline --rounds 7
	$(BIN)/python -m tests.benchmarks.overhead --rounds 7
	$(BIN)/python -m tests.benchmarks.http --rounds 3
	$(BIN)/python -m tests.benchmarks.streams 2000
	$(BIN)/python -m tests.benchmarks.counting
	$(BIN)/python -m tests.benchmarks.moderation --deltas 10000 --rounds 3
	$(BIN)/python -m tests.benchmarks.timing
	$(BIN)/python -m tests.benchmarks.fragments --mib 2
	$(BIN)/python -m tests.benchmarks.frames --frames 5000
	$(BIN)/python -m tests.benchmarks.websocket --frames 5000
	$(BIN)/python -m tests.benchmarks.gateway
	$(BIN)/python -m tests.benchmarks.relay
	$(BIN)/python -m tests.benchmarks.growth --sizes 1000 2000 4000

# 50 rounds of 500 streams over loopback, left in every way, on asyncio and, where it is installed, uvloop: two minutes. Then
# batches of 20,000 recordings, killed and resumed, and the memory of 100,000: ten minutes. Then producers of streams in a log,
# killed and paused at random moments, and 1,000 viewers: three minutes.
soak: $(READY)
	$(BIN)/python -m tests.fire.soak $(ARGS)
	$(BIN)/python -m tests.batch.soak
	$(BIN)/python -m tests.relay.soak

# The properties of the reader, of moderation and counting, of emitters and of requests, with 100,000 examples: about two hours.
# EXAMPLES=3000 tries fewer.
fuzz: $(READY)
	FUZZ_EXAMPLES=$(or $(EXAMPLES),100000) $(BIN)/python -m pytest tests/fuzz tests/emitters/test_any_answer.py tests/requests/test_every_field.py -q

# What OpenAI's clients for Python and npm read, over all recordings, beside docs/reference/clients.md: a few minutes.
clients: $(READY) $(CLIENTS)/.ready
	$(BIN)/python -m tests.clients $$(cat $(CLIENTS)/arguments) $(ARGS)
	$(BIN)/python -m tests.clients.formats $$(cat $(CLIENTS)/arguments)
	$(BIN)/python -m tests.clients.matrix $$(cat $(CLIENTS)/arguments)
	$(BIN)/python -m tests.clients.front_ends $$(cat $(CLIENTS)/arguments)
	$(BIN)/python -m tests.clients.browser $$(cat $(CLIENTS)/arguments)
	$(BIN)/python -m tests.clients.durable $$(cat $(CLIENTS)/arguments)

$(CLIENTS)/.ready: $(READY) requirements/clients.txt tests/clients/install.py tests/clients/javascript/package-lock.json
	$(BIN)/python -m tests.clients.install $(CLIENTS)
	touch $@

# Wheels and sdists of streamkit and its plugins, in dist/.
dist: $(READY)
	$(BIN)/python -m tests.install.wheels --into dist

# The same, and the wheels in bare environments: every supported Python, with the lowest and the newest dependencies that the packages
# allow. Three minutes; ARGS="--python 3.13 --lowest" is one of them.
wheels: $(READY)
	$(BIN)/python -m tests.install.wheels $(ARGS)

# A batch on Dask and on Ray, each with two local workers of which one is killed: two minutes. ARGS=dask runs one of them.
cluster: $(CLUSTER)/.ready
	$(CLUSTER)/bin/python -m tests.batch.cluster $(ARGS)

$(CLUSTER)/.ready: pyproject.toml requirements/cluster.txt $(CLUSTER_PLUGINS:%=%/pyproject.toml)
	$(PYTHON) -m venv $(CLUSTER)
	$(CLUSTER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/cluster.txt
	$(CLUSTER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . $(CLUSTER_PLUGINS:%=-e %)
	touch $@

# What other libraries make of streams that go wrong, beside docs/explanation/comparison.md; ARGS=--write for the page, ARGS=litellm for one.
# Vercel's `ai` needs Python 3.12: make peers PYTHON=python3.12
peers: $(PEERS)/.ready
	$(PEERS)/bin/python -W ignore -m tests.peers $(ARGS)

$(PEERS)/.ready: requirements/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/peers.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e plugins/streamkit-encodings
	touch $@

$(READY): pyproject.toml requirements/dev.txt $(PLUGINS:%=%/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed, this is " + sys.version)'
	@echo "Installing the dependencies into $(VENV), which takes one or two minutes"
	$(PYTHON) -m venv $(VENV)
	# --no-deps: the lock is complete. With dependency resolution, pip rejects a locked package that another one requests
	# with an extra (coverage[toml]) as soon as a newer release exists.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . $(PLUGINS:%=-e %)
	$(BIN)/python -m pip check
	touch $@

# After a change of the dependencies in pyproject.toml or of the clients. Needs uv and npm.
COMPILE = uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11
lock:
	$(COMPILE) pyproject.toml --group dev -o requirements/dev.txt
	$(COMPILE) --group clients -o requirements/clients.txt
	$(COMPILE) pyproject.toml --group cluster -o requirements/cluster.txt
	$(COMPILE) --group docs -o requirements/docs.txt
	$(COMPILE) pyproject.toml --group peers -o requirements/peers.txt
	npm install --prefix tests/clients/javascript --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund
	npm install --prefix tests/docs/site/javascript --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund

clean:
	rm -rf dist $(VENV) $(CLIENTS) $(CLUSTER) $(SITE) $(PEERS) build .cache .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
