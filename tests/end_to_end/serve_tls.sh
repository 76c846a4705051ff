#!/usr/bin/env bash
# The real thing: `serve` with the example configuration, secrets as systemd hands them over, and the simulated
# Talkdesk in another process behind HTTPS and HTTP/2. Then what an operator meets: health while stopping, stale
# answers while Talkdesk is down, a missing secret.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

secrets=$work/secrets
start simulator "$BINARY" simulate --tls --write-credentials "$secrets" --listen 127.0.0.1:0
if ! within 20 grep -q '^counters and faults' "$work/simulator.out"; then
  fail "the simulated Talkdesk starts" "$(cat "$work/simulator.out" "$work/simulator.err")"
  finish
  exit 1
fi
simulator=$(sed -n 's/^upstream.api_url: *//p' "$work/simulator.out")
token_url=$(sed -n 's/^upstream.token_url: *//p' "$work/simulator.out")
ca=$secrets/ca.pem
matches "the simulated Talkdesk speaks HTTPS" '^https://' "$simulator"
equal "it offers HTTP/2" 2 "$(curl --silent --cacert "$ca" --output /dev/null --write-out '%{http_version}' \
  "$simulator/_simulator/counters")"

# The example as it is shipped, with the simulator in Talkdesk's place.
mkdir "$work/etc"
configuration=$work/etc/config.yaml
sed -e 's|^  listen: 127.0.0.1:8080 |  listen: 127.0.0.1:0 |' \
  -e 's|^  admin: 127.0.0.1:9090 |  admin: 127.0.0.1:0 |' \
  -e 's|^  # metrics: 127.0.0.1:9091 |  metrics: 127.0.0.1:0 |' \
  -e 's|^  drain_delay: 5s |  drain_delay: 4s |' \
  -e "s|^  # api_url: .*|  api_url: $simulator|" \
  -e "s|^  # token_url: .*|  token_url: $token_url|" \
  -e "s|^  # ca_file: .*|  ca_file: $ca|" \
  -e 's|^    products: {.*|    products: { ttl: 1s, stale_while_revalidate: 0s, stale_if_error: 7d }|' \
  -e 's|^  level: info |  level: info,h2=debug |' \
  config.example.yaml >"$configuration"
equal "the nine lines were found in the example" 9 "$(diff config.example.yaml "$configuration" | grep -c '^>')"

export CREDENTIALS_DIRECTORY=$secrets
holds "check accepts it" "$BINARY" check --config "$configuration"
unset CREDENTIALS_DIRECTORY

# serve NAME [ARGUMENTS]: starts it; process id in $pid, addresses in $proxy, $admin, $metrics.
serve() {
  local name=$1 line
  shift
  start "$name" env CREDENTIALS_DIRECTORY="$secrets" "$BINARY" serve --config "$configuration" "$@"
  if ! within 20 grep -q '"message":"serving"' "$work/$name.err"; then
    fail "$name: serves" "$(tail -5 "$work/$name.err")"
    finish
    exit 1
  fi
  line=$(grep '"message":"serving"' "$work/$name.err")
  proxy=http://$(jq -r .data <<<"$line")
  admin=http://$(jq -r .admin <<<"$line")
  metrics=http://$(jq -r .metrics <<<"$line")
}

serve first --strict
first=$pid
holds "the admin plane is ready" answers "$admin/readyz"

walk "$proxy/organizations/acme/express/invoices" invoices
equal "acme: 400 invoice lines, each once, on 8 pages" "400 400 8" "$(wc -l <"$work/records") $(distinct_ids) $pages"
equal "acme: every link is of the proxy, though the API's are https" 0 \
  "$(foreign_hrefs "$proxy/organizations/acme/express/invoices")"
contains "it went over HTTP/2" '"target":"h2::' "$(grep -m1 -o '"target":"h2::' "$work/first.err" || true)"
walk "$proxy/instances/josephpinetrees/express/invoices" invoices
equal "josephpinetrees: 34 lines of its own" "34 5ea75fe7aa224700012eae40" "$(distinct_ids) $(accounts)"
walk "$proxy/instances/globex/express/invoices" invoices
equal "globex, with private_key_jwt: 60 lines of its own" "60 5ea75fe7aa224700012eae41" "$(distinct_ids) $(accounts)"
learned() { [[ $(curl --silent "$admin/api/tenants" | jq '[.tenants[] | select(.learned)] | length') == 11 ]]; }
holds "acme's other Instances are learned" within 20 learned
walk "$proxy/instances/anvil-works/express/invoices" invoices
equal "anvil-works, learned: 33 lines of one account" "33 1" "$(distinct_ids) $(accounts | wc -w)"
refused "a reseller's customer" 403 reseller_sold "$proxy/instances/initech/express/invoices"

ask "$metrics/metrics"
equal "the third listener has metrics" 200 "$status"
ask "$metrics/api/tenants"
equal "and nothing else" 404 "$status"
equal "the access log has a JSON line for each of acme's pages, and nothing else" 8 \
  "$(jq -s '[.[] | select(."url.path" == "/organizations/acme/express/invoices" and ."http.response.status_code" == 200)] | length' \
    "$work/first.out" 2>&1)"
equal "the logs hold no secret and no token" 0 "$(cat "$work/first.out" "$work/first.err" |
  grep -cE -e "$(cat "$secrets/acme-client-secret")|Bearer |eyJ|[0-9a-f]{64}" || true)"

# --- Talkdesk is down: a stale answer ----------------------------------------------------------------------------
ask "$proxy/organizations/acme/express/products"
size=$(stat -c %s "$work/body")
fault '{"target":"api","path":"/express/products","count":100000,"kind":"close"}'
stale() {
  ask "$proxy/organizations/acme/express/products"
  [[ "$status" == 200 && "$(field cache-status)" == *'; hit'* && "$(field age)" -ge 2 ]]
}
holds "the products are answered stale while Talkdesk resets every connection" within 10 stale
equal "as they were" "$size" "$(stat -c %s "$work/body")"
matches "which is counted" '^[1-9]' "$(metric 'stale_served_total{reason="error"}')"
ask "$proxy/organizations/acme/express/products?per_page=3"
equal "what was never seen is told as unreachable" "502 upstream_unreachable" "$status $(json .code)"
curl --silent --cacert "$ca" -X DELETE "$simulator/_simulator/faults"
fresh() {
  ask "$proxy/organizations/acme/express/products?per_page=3"
  [[ "$status" == 200 ]]
}
holds "afterwards it works again by itself" within 20 fresh

# --- Stopping ----------------------------------------------------------------------------------------------------
kill -TERM "$first"
not_ready() { [[ $(curl --silent --output /dev/null --write-out '%{http_code}' "$metrics/readyz") == 503 ]]; }
holds "SIGTERM: not ready at once" within 2 not_ready
ask "$proxy/organizations/acme/express/invoices"
equal "SIGTERM: new requests are still answered for drain_delay" 200 "$status"
ended "$first" 20
equal "SIGTERM: exit code 0" 0 "$code"
equal "the log holds no panic" 0 "$(grep -c panicked "$work/first.err" || true)"

# --- A second signal ends at once --------------------------------------------------------------------------------
sed -i 's|^  drain_delay: 4s |  drain_delay: 60s |' "$configuration"
serve second
kill -TERM "$pid"
holds "drain_delay of a minute: not ready" within 5 not_ready
kill -TERM "$pid"
ended "$pid" 5
matches "a second SIGTERM ends it at once" '^[0-9]+$' "$code"

# --- A missing secret --------------------------------------------------------------------------------------------
sed -i 's|^  drain_delay: 60s |  drain_delay: 0s |' "$configuration"
rm "$secrets/globex-key"
export CREDENTIALS_DIRECTORY=$secrets
run "$BINARY" check --config "$configuration"
equal "a missing secret: check exits 2" 2 "$code"
contains "a missing secret: check names the tenant" instances/globex "$output"
contains "a missing secret: check names the file" globex-key "$output"
run "$BINARY" serve --strict --config "$configuration"
equal "a missing secret: serve --strict exits 2" 2 "$code"
unset CREDENTIALS_DIRECTORY
serve third
ask "$proxy/organizations/acme/express/invoices"
equal "a missing secret: the others are served" 200 "$status"
refused "a missing secret: that tenant" 503 secret_unavailable "$proxy/instances/globex/express/invoices"
holds "a missing secret: ready all the same" answers "$admin/readyz"
kill -TERM "$pid"
ended "$pid" 10
equal "it ends well" 0 "$code"

# --- An authority that is not trusted ----------------------------------------------------------------------------
sed -i "s|^  ca_file: .*||" "$configuration"
serve fourth
before=$(calls)
ask "$proxy/organizations/acme/express/invoices"
equal "a certificate of an unknown authority: refused" "503 token_unavailable" "$status $(json .code)"
equal "a certificate of an unknown authority: nothing is sent to it" "$before" "$(calls)"

finish
