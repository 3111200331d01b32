#!/usr/bin/env bash
# Makes all generated files anew. They are committed, so that building Waybill takes nothing but Go.
set -euo pipefail
cd "$(dirname "$0")/.."

go tool templ generate
go generate ./... # the list of destination types and their pages in docs/
scripts/npm-packages.sh all
npm run --silent vendor
node static/icons.mjs
npm run --silent css
