#!/bin/sh
# Everything that must pass: format, lint, types, tests with branch coverage. CI runs this same file.
extra=test
. "$(dirname "$0")/../deploy/venv.sh"
ruff format --check .
ruff check .
mypy
coverage erase
coverage run -m pytest -n 4 --dist worksteal "$@"
coverage combine --quiet
coverage report
