# The project's verbs. `make book` and `make test` set themselves up; nothing else has to be done first.

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin

# uv does not read pip's variables: hand the folder of wheels on. Without one, and without an NVIDIA device, take the
# CPU build of torch, which spares gigabytes.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
INSTALL := $(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode
BUILD := $(if $(UV_FIND_LINKS)$(wildcard /dev/nvidia0),,--torch-backend cpu)
CUDA := cuda-bindings cuda-toolkit nvidia-cudnn-cu13 nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvshmem-cu13 triton

.PHONY: book env test fuzz lab serve pdf picture kernels results bench conformance engine lock clean

book: .venv/.ok  # execute what changed, build the pages
	@$(BIN)/python -m book.make

env: .venv/.ok  # the environment alone

test: .venv/.ok
	$(BIN)/python -m pytest --doctest-modules -n 2 --dist loadfile --no-loadscope-reorder

SECONDS_EACH ?= 300
fuzz: .venv/.ok  # ten times as many examples, always others; then the readers under a fuzzer that coverage guides
	FUZZ=10 $(BIN)/python -m pytest -n 2 tests/fuzz
	cd tests && ../$(BIN)/python -m fuzz.guided $(SECONDS_EACH)

lab: .venv/.ok  # JupyterLab on the notebooks, the explorer open
	$(BIN)/jupyter lab notebooks/explorer.ipynb

serve: book  # the built book on a local port
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

pdf: book  # the whole book as _build/book.pdf (needs a Chromium)
	@$(BIN)/python -m book.make pdf

picture: book  # the explorer as README and front page show it (needs a Chromium)
	@$(BIN)/python -m book.make picture

kernels: .venv/.ok  # loops and formats' names anew for the explorer's page, after a change to them (a minute)
	@$(BIN)/python -m book.explorer.formats
	@$(BIN)/python -m book.live

results: book  # take the executed tables and figures over into data/results and figures
	@$(BIN)/python -m book.make results

bench: .venv/.ok  # speed and coverage, side by side with rivals, into data/results (needs a C compiler)
	@$(BIN)/python -m benchmarks

conformance: .venv/.ok  # record 600 cases from vLLM's own scheduler and replay them (makes CONFORMANCE_ENV, 3.4 GB)
	@$(BIN)/python -m benchmarks.conformance

engine: .venv/.ok  # predict a real vLLM server's loads, then measure them here (DEVICE=clock or cpu, FULL=1: all loads)
	@$(BIN)/python -m benchmarks.engine $(DEVICE)

# For every platform, with the hashes of every file. Torch is left out, as its builds differ by index: neither it nor
# what its CUDA build brings is verified; its version stands in requirements.txt, its other needs in the lock.
lock: .venv/.ok  # resolve requirements.txt anew
	printf '%s\n' $(CUDA) | $(BIN)/uv pip compile -q requirements.txt -o requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-emit-package torch --excludes - --no-header --no-annotate --no-emit-index-url --no-emit-find-links

clean:
	rm -rf _build build dist .venv *.egg-info

.venv/.ok: requirements.lock requirements.txt pyproject.toml setup.py
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install -q --require-hashes -r .venv/uv.lock
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) $(BUILD) $$(grep -o '^torch==[^ ]*' requirements.txt)
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@
