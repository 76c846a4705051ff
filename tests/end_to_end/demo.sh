#!/usr/bin/env bash
# The demo as a person with curl meets it: paging, tenants, refusals, the cache, health, metrics, the end.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

start demo "$BINARY" demo --listen 127.0.0.1:0 --admin 127.0.0.1:0 --simulator 127.0.0.1:0
demo=$pid
if ! within 20 grep -q 'Ctrl-C ends it' "$work/demo.out"; then
  fail "the demo starts" "$(cat "$work/demo.out" "$work/demo.err")"
  finish
  exit 1
fi
proxy=$(sed -n 's/^The proxy: *//p' "$work/demo.out")
admin=$(sed -n 's/^Status page, metrics: *\([^ ]*\)\/ .*/\1/p' "$work/demo.out")
simulator=$(sed -n 's/^The simulated Talkdesk: *\(.*\)\/_simulator.*/\1/p' "$work/demo.out")
configuration=$(sed -n 's/^The configuration: *//p' "$work/demo.out")
secrets=$(dirname "$configuration")

holds "the demo's own configuration passes check" "$BINARY" check --config "$configuration"
equal "the secrets of the demo are for its owner alone" 600 "$(stat -c %a "$secrets/acme-client-secret")"
holds "/livez" answers "$admin/livez"
holds "/readyz" answers "$admin/readyz"

# --- Instances that nobody configured are learned ----------------------------------------------------------------
learned() {
  [[ $(curl --silent "$admin/api/tenants" | jq '[.tenants[] | select(.learned)] | length') == 15 ]]
}
holds "the other Instances of acme (11) and northwind (4) are learned" within 20 learned

# --- Refusals ----------------------------------------------------------------------------------------------------
refused "a reseller's customer" 403 reseller_sold "$proxy/instances/initech/express/invoices"
contains "a reseller's customer: told what to do" "partner" "$(json .detail)"
equal "a reseller's customer: told who" "instances/initech instances/initech" "$(json .tenant) $(field x-tenant)"
refused "a plan without the API" 403 plan_not_eligible "$proxy/instances/umbrella/express/invoices"
refused "no OAuth client" 403 no_oauth_client "$proxy/instances/wonka/express/invoices"
refused "a disabled Organization" 403 tenant_disabled "$proxy/organizations/soylent/express/invoices"
refused "a client without the scope" 403 scope_missing "$proxy/organizations/stark/express/invoices"
refused "nobody" 404 unknown_tenant "$proxy/instances/nobody/express/invoices"
refused "a bare path" 400 tenant_missing "$proxy/express/invoices"
contains "a bare path: varies by the field" X-Tenant "$(field vary)"
refused "prefix against field" 400 tenant_conflict "$proxy/organizations/acme/express/invoices" \
  -H 'X-Tenant: instances/globex'
refused "X-Tenant twice" 400 tenant_conflict "$proxy/express/invoices" \
  -H 'X-Tenant: organizations/acme' -H 'X-Tenant: organizations/northwind'
refused "no such endpoint" 404 unknown_endpoint "$proxy/organizations/acme/express/refunds"
refused "one slash too many" 404 unknown_endpoint "$proxy/organizations/acme/express/invoices/"
contains "one slash too many: told the right path" "/organizations/acme/express/invoices" "$(json .detail)"
refused "POST" 405 method_not_allowed "$proxy/organizations/acme/express/invoices" -X POST
contains "POST: told the methods" "GET, HEAD" "$(field allow)"
refused "DELETE" 405 method_not_allowed "$proxy/organizations/acme/express/invoices" -X DELETE
refused "an Instance names another account" 403 account_not_in_organization \
  "$proxy/instances/josephpinetrees/express/invoices?filter=account_id+eq+'5ea75fe7aa224700012eae50'"
refused "an Instance names it in disguise" 403 account_not_in_organization \
  "$proxy/instances/josephpinetrees/express/invoices?%66ilter=%61ccount_id+eq+%275ea75fe7aa224700012eae41%27"
refused "an Instance names it beside its own" 403 account_not_in_organization \
  "$proxy/instances/josephpinetrees/express/invoices?filter=account_id+in+('5ea75fe7aa224700012eae40','5ea75fe7aa224700012eae50')"
refused "an Instance's filter that leaves its parentheses" 400 filter_not_understood \
  "$proxy/instances/josephpinetrees/express/invoices?filter=currency+eq+'USD')+or+(currency+ne+'x'"
refused "an unknown parameter of an Instance" 400 parameter_not_allowed \
  "$proxy/instances/josephpinetrees/express/invoices?account_id=5ea75fe7aa224700012eae40"
refused "another Organization's account" 403 account_not_in_organization \
  "$proxy/organizations/acme/express/invoices?filter=account_id+eq+'5ea75fe7aa224700012eae41'"
refused "the accounts, for an Instance" 403 organization_only "$proxy/instances/josephpinetrees/express/accounts"
refused "a GET with a body" 400 body_not_allowed "$proxy/organizations/acme/express/invoices" -X GET --data x
contains "a GET with a body: the connection ends" close "$(field connection)"
refused "a chunked body" 400 body_not_allowed "$proxy/organizations/acme/express/invoices" \
  -X GET -H 'Transfer-Encoding: chunked' --data x
for target in /organizations/acme/express/%2e%2e/express/invoices /organizations/acme/express%2finvoices \
  /organizations/acme/../northwind/express/invoices /organizations/acme/express/invoices%00 \
  '/organizations/acme/express/invoices;x=1' '/organizations/acme/express\invoices'; do
  refused "the target $target" 400 invalid_target --path-as-is "$proxy$target"
done
refused "another host's name" 421 host_not_allowed "$proxy/organizations/acme/express/invoices" -H 'Host: evil.example'
refused "another site's page" 403 origin_not_allowed "$proxy/organizations/acme/express/invoices" \
  -H 'Origin: https://evil.example'
refused "a page without an origin" 403 origin_not_allowed "$proxy/organizations/acme/express/invoices" -H 'Origin: null'
refused "a cross-site request" 403 origin_not_allowed "$proxy/organizations/acme/express/invoices" \
  -H 'Sec-Fetch-Site: cross-site'
ask http://evil.example/organizations/acme/express/invoices --proxy "$proxy"
equal "used as a forward proxy: refused" "421 host_not_allowed" "$status $(json .code)"
ask https://evil.example/ --proxy "$proxy"
contains "used as a tunnel: refused" 421 "$status"
ask "$proxy/?$(head -c 20000 /dev/zero | tr '\0' a)"
equal "a target without end" 414 "$status"
ask "$proxy/" -H "X-Long: $(head -c 60000 /dev/zero | tr '\0' a)"
equal "fields without end" 431 "$status"
equal "no CORS field on any of them" "" "$(grep -i '^access-control' "$work/heads" || true)"
ask "$admin/metrics" -H 'Host: evil.example'
equal "the admin plane is no other host either" "421 host_not_allowed" "$status $(json .code)"
ask "$admin/api/cache" -X DELETE -H 'Origin: https://evil.example'
equal "another site's page can't purge" "403 origin_not_allowed" "$status $(json .code)"
equal "refusals are counted by reason" "1 2 1" \
  "$(metric 'requests_denied_total{reason="reseller_sold"}') $(metric 'requests_denied_total{reason="tenant_conflict"}') $(metric 'requests_denied_total{reason="parameter_not_allowed"}')"

# --- Every page, by following next -------------------------------------------------------------------------------
walk "$proxy/organizations/acme/express/invoices" invoices
equal "acme: 400 invoice lines, each once, on 8 pages" "400 400 8" "$(wc -l <"$work/records") $(distinct_ids) $pages"
equal "acme: the lines are of 12 Instances" 12 "$(accounts | wc -w)"
equal "acme: every link stays on the proxy and on the tenant" 0 \
  "$(foreign_hrefs "$proxy/organizations/acme/express/invoices")"
matches "acme: there were links" '^[1-9][0-9]+$' "$(wc -l <"$work/hrefs")"

walk "$proxy/instances/josephpinetrees/express/invoices?per_page=7" invoices
equal "josephpinetrees: 34 lines, each once, on 5 pages" "34 34 5" "$(wc -l <"$work/records") $(distinct_ids) $pages"
equal "josephpinetrees: its own records only" 5ea75fe7aa224700012eae40 "$(accounts)"
equal "josephpinetrees: every link stays on it" 0 \
  "$(foreign_hrefs "$proxy/instances/josephpinetrees/express/invoices")"
walk "$proxy/instances/josephpinetrees/express/usage/month?filter=month+eq+'2024-08'&per_page=2" usage
matches "josephpinetrees: one month of usage, by a filter of its own" '^[1-9][0-9]*$' "$(distinct_ids)"
equal "josephpinetrees: that month alone" "2024-08 5ea75fe7aa224700012eae40" \
  "$(jq -r .month "$work/records" | sort -u) $(accounts)"

walk "$proxy/instances/canyon-travel/express/invoices" invoices
equal "canyon-travel, learned: 33 lines" "33 33" "$(wc -l <"$work/records") $(distinct_ids)"
equal "canyon-travel, learned: one account" 1 "$(accounts | wc -w)"

walk "$proxy/instances/globex/express/invoices" invoices
equal "globex, on a key of its own: 60 lines" "60 60" "$(wc -l <"$work/records") $(distinct_ids)"
equal "globex: its own records only" 5ea75fe7aa224700012eae41 "$(accounts)"

walk_by_field() { # the same with the tenant in a field
  local url=$1 lines=0
  while [[ -n "$url" ]]; do
    ask "$url" -H 'X-Tenant: instances/hooli'
    [[ "$status" == 200 ]] || { echo "$status"; return; }
    lines=$((lines + $(json '._embedded.invoices | length')))
    url=$(json '._links.next.href // empty')
    [[ -z "$url" || "$url" == "$proxy/express/invoices?"* ]] || { echo "left: $url"; return; }
  done
  echo "$lines"
}
equal "hooli, named in X-Tenant: 30 lines over bare links" 30 "$(walk_by_field "$proxy/express/invoices")"
ask "$proxy/express/invoices" -H 'X-Tenant: instances/hooli'
equal "hooli: the answer says whose it is, and varies by the field" "instances/hooli yes" \
  "$(field x-tenant) $([[ $(field vary) == *[Xx]-[Tt]enant* ]] && echo yes)"
ask "$proxy/organizations/acme/express/usage/month"
equal "monthly usage has its links beside the records, and they stay on the proxy" true \
  "$(json '[.. | .href? // empty] | length > 0 and all(startswith("'"$proxy"'/organizations/acme/express/"))')"
equal "names other than the address: the links use the one that was used" "${proxy/127.0.0.1/localhost}" \
  "$(curl --silent "${proxy/127.0.0.1/localhost}/organizations/acme/express/products" | jq -r ._links.self.href |
    grep -o '^http://localhost:[0-9]*')"

# --- Not a byte changes but in links -----------------------------------------------------------------------------
token=$(curl --silent -u "2f1c9a0e5b7d4c31:$(cat "$secrets/acme-client-secret")" -d grant_type=client_credentials \
  "$simulator/acme/oauth/token" | jq -r .access_token)
for path in /express/invoices /express/invoices?page=3 /express/accounts /express/products /express/subscriptions \
  /express/usage/month; do
  curl --silent -H "Authorization: Bearer $token" "$simulator$path" |
    sed "s#\"href\":\"$simulator/#\"href\":\"$proxy/organizations/acme/#g" >"$work/direct"
  ask "$proxy/organizations/acme$path"
  holds "acme's $path is Talkdesk's to the byte, but for links" cmp "$work/direct" "$work/body"
done
ask "$proxy/organizations/acme/express/invoices"
contains "amounts keep their zeros" '"rate":1.10,"amount":1.10,' "$(cat "$work/body")"
contains "the API's address in a description stays" "see $simulator/express/usage/month" "$(cat "$work/body")"

# --- The cache ---------------------------------------------------------------------------------------------------
url=$proxy/organizations/northwind/express/subscriptions
ask "$url"
contains "the first request is a miss" "fwd=uri-miss" "$(field cache-status)"
before=$(calls)
ask "$url"
matches "the second is a hit, and has an age" '; hit.*[0-9]$' "$(field cache-status) $(field age)"
etag=$(field etag)
length=$(field content-length)
ask "$url" -H "If-None-Match: $etag"
equal "If-None-Match: 304 without content, the same ETag" "304 0 $etag" \
  "$status $(stat -c %s "$work/body") $(field etag)"
ask "$url" -H 'If-None-Match: "another"'
equal "another ETag: the whole answer" "200 $length" "$status $(stat -c %s "$work/body")"
ask "$url" --head
equal "HEAD has the GET's fields" "200 $length $etag" "$status $(field content-length) $(field etag)"
ask "$url" -H 'Cache-Control: no-cache'
equal "a client's no-cache does not reach a young entry" 200 "$status"
ask "$url" -H 'Authorization: Bearer nonsense' -H 'Cookie: session=1' -H 'X-Forwarded-Host: evil.example'
equal "a client's credentials have no effect" "200 $length" "$status $(stat -c %s "$work/body")"
equal "all of that cost nothing" "$before" "$(calls)"
ask "$url" -H 'X-Request-Id: month-end-7'
equal "a client's own request id comes back" month-end-7 "$(field x-request-id)"
ask "$url" -X OPTIONS
equal "OPTIONS" "204 GET, HEAD" "$status $(field allow | sed 's/, OPTIONS//')"
ask "$proxy/organizations/northwind/express/products" --head
length=$(field content-length)
ask "$proxy/organizations/northwind/express/products"
equal "HEAD first: the GET's length, and it filled the cache" "$length hit" \
  "$(stat -c %s "$work/body") $(grep -o '\bhit\b' <<<"$(field cache-status)")"
ask "$admin/api/cache?tenant=organizations/northwind" -X DELETE
matches "a purge is answered" '^20[04]$' "$status"
ask "$url"
contains "after a purge it is fetched again" "fwd=" "$(field cache-status)"

# --- What the operator sees --------------------------------------------------------------------------------------
matches "hits are counted" '^[1-9]' "$(metric 'cache_requests_total{endpoint="subscriptions",result="hit"}')"
matches "misses are counted" '^[1-9]' "$(metric 'cache_requests_total{endpoint="invoices",result="miss"}')"
matches "tenants are counted" '^[1-9]' "$(metric 'tenant_requests_total{outcome="denied",tenant="instances/initech"}')"
equal "one token for each credential in use" "1 1" \
  "$(metric 'token_requests_total{result="ok",tenant="organizations/acme"}') $(metric 'token_requests_total{result="ok",tenant="instances/globex"}')"
for path in / /metrics /api/tenants /api/credentials /api/cache; do
  ask "$admin$path"
  equal "the admin plane's $path holds no secret and no token" "200 0" \
    "$status $(grep -cF -e "$(cat "$secrets/acme-client-secret")" -e "$token" -e "$(cat "$secrets/hooli-client-secret")" "$work/body" || true)"
done
equal "nor does the log" 0 "$(cat "$work/demo.out" "$work/demo.err" | grep -cE \
  -e "$(cat "$secrets/acme-client-secret")|[0-9a-f]{64}|Bearer |nonsense" || true)"

# --- The end -----------------------------------------------------------------------------------------------------
fault '{"target":"api","account":"hooli","path":"/express/products","kind":"slow","milliseconds":1500}'
start slow curl --silent --fail --max-time 20 --output "$work/slow.body" "$proxy/instances/hooli/express/products"
slow=$pid
under_way() { [[ $(curl --silent "$simulator/_simulator/counters" | jq .api.in_flight) == 1 ]]; }
holds "a slow request is under way" within 10 under_way
kill -TERM "$demo"
ended "$slow" 20
equal "SIGTERM: the request that is under way is finished" "0 true" "$code $(jq '.count > 0' "$work/slow.body" 2>&1)"
ended "$demo" 20
equal "SIGTERM: exit code 0" 0 "$code"
equal "SIGTERM: the folder with the demo's secrets is gone" gone "$([[ -e "$secrets" ]] && echo "$secrets" || echo gone)"

finish
