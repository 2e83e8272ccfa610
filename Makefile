# Thin verbs over script/: each line here is something you could type yourself.
.DEFAULT_GOAL := help
.PHONY: help setup run test test-engine test-scenarios lint format types contracts migrations database check

help: ## this list
	@sed -n 's/^\([a-z-]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18
setup: ## make .venv with everything the checks need
	script/bootstrap --dev
run: ## the whole product on http://localhost:8000/ (PORT=8001 for another port)
	script/server
test: ## all tests, without the static checks
	script/test --step tests
test-engine: ## the pure engine only, seconds
	script/test engine
test-scenarios: ## customers' stories through API, beat and test clock
	script/test scenarios
lint: setup ## ruff: rules and format
	script/test --step lint format
format: setup ## let ruff rewrite what it can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
types: ## mypy
	script/test --step types
contracts: ## import layers, then the repository's own rules
	script/test --step imports
	script/test contracts
migrations: ## models and migrations agree
	script/test --step migrations
database: ## URL of the shared throwaway PostgreSQL for tests
	@script/database test-url
check: ## what CI runs
	script/test
