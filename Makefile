# medpo: `make demo` and `make test` are all a newcomer needs. Everything lives in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.medpo-setup
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo demo-model test test-slow oracle check bench docs lock clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("medpo needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/medpo demo --force

demo-model: setup
	$(BIN)/python -m medpo_cli.demo.build.phantom_model --out medpo_cli/demo/phantom-llava

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m slow

# TRL as an independent oracle, in an environment of its own: not part of `make test`.
oracle: $(VENV)-oracle/.medpo-setup
	PYTHONPATH=. $(VENV)-oracle/bin/python -m pytest -m oracle tests/oracle

$(VENV)-oracle/.medpo-setup: constraints.txt requirements.lock tests/oracle/requirements.txt
	$(PYTHON) -m venv $(VENV)-oracle
	$(VENV)-oracle/bin/python -m pip install --quiet -c constraints.txt torch
	$(VENV)-oracle/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(VENV)-oracle/bin/python -m pip install --quiet --no-deps -r tests/oracle/requirements.txt
	$(VENV)-oracle/bin/python -m pip check
	touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/build.py --check
	$(BIN)/python benchmarks/memory_table.py --check
	$(BIN)/python benchmarks/scale.py --check

# These rewrite docs/results and recipes/medpo.toml, and take an hour.
STUDIES = benchmarks/results.py benchmarks/search.py

bench: setup
	for script in $(filter-out $(STUDIES),$(wildcard benchmarks/[a-z]*.py)); do $(BIN)/python $$script || exit 1; done

docs: setup
	$(BIN)/python docs/build.py
	$(BIN)/python benchmarks/memory_table.py
	$(BIN)/python benchmarks/scale.py

CUDA := cuda-bindings cuda-pathfinder cuda-toolkit triton nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
	nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx httpx2-jsfetch

lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv
	echo '# Every package of `make setup` but torch (see constraints.txt), with hashes. Made by `make lock`.' > requirements.lock
	$(VENV)-lock/bin/uv pip compile pyproject.toml --extra dev -c constraints.txt --generate-hashes --universal \
		--python-version 3.11 $(foreach package,torch $(CUDA),--no-emit-package $(package)) \
		--no-header --no-annotate >> requirements.lock

clean:
	rm -rf $(VENV) $(VENV)-lock $(VENV)-oracle medpo-demo .mypy_cache .ruff_cache .pytest_cache
