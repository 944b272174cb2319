# Edgewren: `make` sets up, builds the default model and runs it; `make help` lists the rest.

RECIPE  := playing-cards
MODEL   ?= $(RECIPE)
MODELS  ?= $(patsubst convert/recipes/%.toml,%,$(wildcard convert/recipes/*.toml))
SOURCE  ?=
OUTPUT  ?=
DATA    ?=
MIRROR  ?=
THREADS ?= 1,2,4
# Boards: PI=user@host[:port], or INVENTORY=file for a fleet. SSH_CONFIG is ssh -F.
PI         ?=
INVENTORY  ?=
LIMIT      ?=
PORT       ?=
OPTIONS    ?=
DRILL      ?=
SSH_CONFIG ?=
VENV    := .venv
PY      := $(VENV)/bin/python
ORACLE  := .venv-oracle

DEFAULT_FILE := build/models/$(RECIPE).tflite
# A model is named by its recipe or by a path.
MODEL_FILE := $(if $(filter %.tflite,$(MODEL)),$(MODEL),build/models/$(MODEL).tflite)
MIRROR_FLAG := $(if $(MIRROR),--mirror "$(MIRROR)")
# A video becomes an annotated video, a folder a folder, everything else is watched: what is drawn and recorded on the
# page then stays in build/live.
LIVE_OUTPUT = $(if $(OUTPUT),"$(OUTPUT)",$$(if [ -f "$(SOURCE)" ]; then echo build/demo.mp4; \
  elif [ -d "$(SOURCE)" ]; then echo build/demo; else echo http://127.0.0.1:8080 --media build/live --state build/live-state.json; fi))

ifeq ($(filter eval,$(MAKECMDGOALS))$(DATA),eval)
$(error DATA is empty; expected a folder of annotated images; type make eval DATA=dir)
endif

BOARD = $(if $(INVENTORY),--inventory "$(INVENTORY)" $(if $(LIMIT),--limit "$(LIMIT)"),"$(PI)") \
  $(if $(SSH_CONFIG),--ssh-config "$(SSH_CONFIG)")
# On a fleet these are variables of its inventory.
RUNS_THERE = $(if $(INVENTORY),,--model "$(MODEL)" $(if $(SOURCE),--source "$(SOURCE)") \
  $(if $(PORT),--port "$(PORT)") $(if $(OPTIONS),--options="$(OPTIONS)")) $(if $(DRILL),--drill "$(DRILL)")

ifneq ($(filter deploy check rollback status logs undeploy,$(MAKECMDGOALS)),)
ifeq ($(PI)$(INVENTORY),)
$(error PI is empty; expected a board; type make $(firstword $(MAKECMDGOALS)) PI=pi@raspberrypi.local)
endif
endif
ifeq ($(filter fleet,$(MAKECMDGOALS))$(INVENTORY),fleet)
$(error INVENTORY is empty; expected the boards in Ansible's form; type make fleet INVENTORY=boards.yml)
endif

.PHONY: all help setup setup-dev setup-deploy models live eval bench test test-arm test-deploy bench-arm lint format clean distclean
.PHONY: check deploy fleet rollback status logs undeploy
.DEFAULT_GOAL := all

all: setup ## set up, build the default model, show it on drawn scenes or on SOURCE=video|camera|folder
	@mkdir -p build
	@$(PY) -m convert build $(RECIPE) $(MIRROR_FLAG)
ifneq ($(SOURCE),)
	@$(PY) -m apps.live $(DEFAULT_FILE) "$(SOURCE)" $(LIVE_OUTPUT)
else
	@echo "detecting for ten seconds in drawn scenes (synthetic://cards)"
	@$(PY) -m apps.live $(DEFAULT_FILE) synthetic://cards build/demo.mp4 build/demo.png --seconds 10
	@$(PY) -m convert show $(DEFAULT_FILE)
	@echo "Look at build/demo.png and build/demo.mp4. Next:"
	@echo "  make live                        watch drawn scenes in the browser"
	@echo "  make live SOURCE=0               hold a card to the camera"
	@echo "  make live SOURCE=video.mp4       detect in a video, result in build/demo.mp4"
	@echo "  $(PY) -m runtime detect $(DEFAULT_FILE) IMAGE --output out.jpg"
endif

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22
	@echo "  variables: MODEL=$(MODEL) SOURCE= OUTPUT= DATA= MIRROR=dir (looked in before downloading)"

models: setup ## build recipes (MODELS="a b"; all by default)
	@failed=0; for name in $(MODELS); do $(PY) -m convert build $$name $(MIRROR_FLAG) || failed=2; done; exit $$failed

live: setup ## live detections: MODEL= SOURCE=0|video|folder|rtsp://..|synthetic://cards OUTPUT=http://..|file.mp4
	@mkdir -p build
	@$(PY) -m apps.live "$(MODEL_FILE)" "$(or $(SOURCE),synthetic://cards)" $(LIVE_OUTPUT)

eval: setup ## accuracy of MODEL= on annotated images DATA=dir, beside the float network it was made from
	@$(PY) -m convert evaluate "$(MODEL_FILE)" --data "$(DATA)" \
	  $(addprefix --reference ,$(wildcard build/sources/$(basename $(notdir $(MODEL_FILE)))/*.cfg))

bench: setup ## milliseconds per frame of MODEL= on this machine, or on the board PI= of what was deployed there
	@$(if $(PI),$(PY) -m deploy bench $(BOARD) --threads $(THREADS),$(PY) -m runtime bench "$(MODEL_FILE)" --threads $(THREADS))

check: setup-deploy ## is the board PI= ready? nothing is changed there
	@$(PY) -m deploy check $(BOARD) $(RUNS_THERE)

deploy: setup-deploy ## MODEL= and SOURCE= run on the board PI=user@host as a service; a bad release undoes itself
	@$(if $(INVENTORY)$(filter %.tflite,$(MODEL)),,$(PY) -m convert build $(MODEL) $(MIRROR_FLAG))
	@$(PY) -m deploy install $(BOARD) $(RUNS_THERE)

fleet: deploy ## the same for the boards of INVENTORY=file: a canary first, then the rest

rollback: setup-deploy ## the release before on PI= or INVENTORY=
	@$(PY) -m deploy rollback $(BOARD)

status: setup-deploy ## what runs on PI= or INVENTORY=
	@$(PY) -m deploy status $(BOARD)

logs: setup-deploy ## what the service on PI= says
	@$(PY) -m deploy logs $(BOARD)

undeploy: setup-deploy ## remove everything from PI= or INVENTORY=
	@$(PY) -m deploy undeploy $(BOARD)

# Workers share the cores: linear algebra on all of them in each worker would mostly wait for itself.
test: setup-dev $(ORACLE)/.ready ## the whole test suite, set-up included
	@OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile

test-arm: setup-dev ## the device side on emulated ARM boards, deployments to machines included (Debian, root)
	@EDGEWREN_MACHINES=1 $(PY) -m pytest -n 2 --dist loadfile tests/arm

test-deploy: setup-dev ## releases, switches, sandbox and interruptions on boards in containers with systemd (Debian, root)
	@EDGEWREN_MACHINES=1 $(PY) -m pytest -n 0 tests/deploy

bench-arm: setup-dev ## instructions per frame on emulated Cortex-A53, A72 and A76 (a regression figure, no time)
	@$(PY) -m tests.arm.count $(wildcard build/models/playing-cards.tflite build/models/yolo-fastest-1.1.tflite) \
	  --json build/bench-arm.json

lint: setup-dev ## ruff and mypy
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

format: setup-dev ## rewrite the code in the project's style
	@$(PY) -m ruff check --fix-only --quiet . && $(PY) -m ruff format .

clean: ## remove what was built
	rm -rf build

distclean: clean ## remove the environments too
	rm -rf $(VENV) $(ORACLE) *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The developer's set-up holds all of the user's.
setup: $(if $(wildcard $(VENV)/.ready-dev),$(VENV)/.ready-dev,$(VENV)/.ready-convert)
setup-dev: $(VENV)/.ready-dev
setup-deploy: $(if $(wildcard $(VENV)/.ready-dev),$(VENV)/.ready-dev,$(VENV)/.ready-deploy)

$(VENV)/.ready-%: pyproject.toml
	@$(find_python); $(make_venv)
	@echo "setting up: installing edgewren[$*] into $(VENV) (about 2.7 GB, one to five minutes; log in $(VENV)/setup.log)"
	@$(PY) -m pip install --disable-pip-version-check -e '.[$*]' > $(VENV)/setup.log 2>&1 || { \
	  grep -E '^ERROR' $(VENV)/setup.log | head -1 >&2; \
	  echo "error: the Python packages could not be installed; expected access to the Python package index;" \
	       "look into $(VENV)/setup.log and type make again" >&2; exit 2; }
	@touch $@

# OpenCV 4.12 still reads Darknet files and so checks our importer; it cannot share an environment with OpenCV 5.
# MediaPipe's schema checks our metadata. Tests only: without it those tests are skipped and say so.
$(ORACLE)/.ready: tests/oracles/requirements.txt
	@echo "setting up: the test oracles in $(ORACLE)"
	@$(find_python); $(if $(wildcard $(ORACLE)/bin/python),:,"$$python" -m venv $(ORACLE))
	@$(ORACLE)/bin/python -m pip install --disable-pip-version-check --no-deps -r $< > $(ORACLE)/setup.log 2>&1 \
	  && touch $@ || echo "the test oracles could not be installed; see $(ORACLE)/setup.log" >&2

# TensorFlow has wheels for Python 3.11 to 3.13.
define find_python
python=; for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
    python="$$candidate"; break; fi; done; \
if [ -z "$$python" ]; then \
  echo "error: no Python 3.11, 3.12 or 3.13 found; expected one as python3; sudo apt install python3 python3-venv," \
       "or type make PYTHON=/path/to/python3.12" >&2; exit 2; fi
endef

define make_venv
if [ ! -x $(PY) ]; then \
  if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
    echo "error: $$python cannot make environments; expected Debian's package python3-venv;" \
         "sudo apt install python3-venv" >&2; exit 2; fi; \
  echo "setting up: making $(VENV) with $$("$$python" --version)"; \
  "$$python" -m venv $(VENV) || exit 2; fi
endef
