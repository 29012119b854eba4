# The project's verbs. `make book` and `make test` set themselves up; nothing else has to be done first.

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin

# uv does not read pip's variables: hand the folder of wheels on. Without one, and without an NVIDIA device, take the
# CPU build of torch, which spares gigabytes; the lock is always of the CPU build.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
CPU := $(if $(UV_FIND_LINKS),,--torch-backend cpu)
TORCH := $(if $(wildcard /dev/nvidia0),,$(CPU))

.PHONY: book env test lab serve pdf picture results bench lock clean

book: .venv/.ok  # execute what changed, build the pages
	@$(BIN)/python -m book.make

env: .venv/.ok  # the environment alone

test: .venv/.ok
	$(BIN)/python -m pytest --doctest-modules -n 2 --dist loadfile --no-loadscope-reorder

lab: .venv/.ok  # JupyterLab on the notebooks, the explorer open
	$(BIN)/jupyter lab notebooks/explorer.ipynb

serve: book  # the built book on a local port
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

pdf: book  # the whole book as _build/book.pdf (needs a Chromium)
	@$(BIN)/python -m book.make pdf

picture: book  # the explorer as README and front page show it (needs a Chromium)
	@$(BIN)/python -m book.make picture

results: book  # take the executed tables and figures over into data/results and figures
	@$(BIN)/python -m book.make results

bench: .venv/.ok  # speed and coverage, side by side with rivals, into data/results (needs a C compiler)
	@$(BIN)/python -m benchmarks

lock: .venv/.ok  # resolve requirements.txt anew
	$(BIN)/uv pip compile -q requirements.txt -o requirements.lock -P torch $(CPU) --no-header --no-annotate --no-emit-index-url --no-emit-find-links
	sed -i.old 's/+cpu$$//' requirements.lock && rm requirements.lock.old

clean:
	rm -rf _build build dist .venv *.egg-info

.venv/.ok: requirements.lock pyproject.toml setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q uv==0.13.9
	$(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode $(TORCH) -r requirements.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	touch $@
