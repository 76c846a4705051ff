#!/usr/bin/env bash
# The metrics as Prometheus reads them.
# PROMTOOL names Prometheus's own tool.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

PROMTOOL=${PROMTOOL:-promtool}

start demo "$BINARY" demo --listen 127.0.0.1:0 --admin 127.0.0.1:0 --simulator 127.0.0.1:0
holds "the demo starts" within 20 grep -q 'Ctrl-C ends it' "$work/demo.out"
proxy=$(sed -n 's/^The proxy: *//p' "$work/demo.out")
admin=$(sed -n 's/^Status page, metrics: *\([^ ]*\)\/ .*/\1/p' "$work/demo.out")
for path in organizations/acme/express/invoices organizations/acme/express/invoices instances/globex/express/products \
  instances/initech/express/invoices instances/nobody/express/invoices; do
  ask "$proxy/$path"
done
ask "$admin/metrics"
equal "the metrics are text of version 0.0.4" "200 text/plain; version=0.0.4; charset=utf-8" "$status $(field content-type)"
lint() { "$PROMTOOL" check metrics <"$work/body"; }
holds "promtool check metrics" lint
equal "every one is ours or the process's" "" \
  "$(grep -v '^#' "$work/body" | grep -vE '^(billing_insights_proxy|process)_[a-z_]+(\{.*\})? ' || true)"
equal "nobody's text becomes a label" 0 "$(grep -c nobody "$work/body" || true)"

finish
