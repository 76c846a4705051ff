# shellcheck shell=bash
# What the end-to-end checks share. Each script sources this, checks with `equal`, `contains`, `matches` and `holds`,
# and ends with `finish`, whose last line is `N passed, N failed`.
#
# BINARY names the program under test; the debug build unless set.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
BINARY=${BINARY:-target/debug/billing-insights-proxy}
# An outgoing proxy of the machine has no part in this: everything here is on the loopback interface.
unset HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy

work=$(mktemp -d)
pids=()
passed=0
failed=0
status='' # of the last `ask`
simulator='' # addresses, which each script finds out
admin=''
ca=''

clean_up() {
  for pid in "${pids[@]}"; do
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

pass() {
  passed=$((passed + 1))
  printf 'ok      %s\n' "$1"
}

# fail NAME SEEN
fail() {
  failed=$((failed + 1))
  printf 'FAILED  %s\n        %s\n' "$1" "${2//$'\n'/$'\n'        }"
}

# equal NAME WANTED SEEN
equal() {
  if [[ "$2" == "$3" ]]; then pass "$1"; else fail "$1" "wanted: $2"$'\n'"seen:   $3"; fi
}

# contains NAME PART SEEN
contains() {
  if [[ "$3" == *"$2"* ]]; then pass "$1"; else fail "$1" "wanted: ...$2..."$'\n'"seen:   $3"; fi
}

# matches NAME REGULAR_EXPRESSION SEEN
matches() {
  if [[ "$3" =~ $2 ]]; then pass "$1"; else fail "$1" "wanted: $2"$'\n'"seen:   $3"; fi
}

# holds NAME COMMAND...: the command succeeds; what it prints is shown where it does not.
holds() {
  local name=$1 seen
  shift
  if seen=$("$@" 2>&1); then pass "$name"; else fail "$name" "$* said: $seen"; fi
}

# within SECONDS COMMAND...: the command succeeds at last. Fails silently at the deadline.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# start NAME COMMAND...: in the background; output in $work/NAME.out and .err, its process id in $pid.
start() {
  local name=$1
  shift
  "$@" >"$work/$name.out" 2>"$work/$name.err" </dev/null &
  pid=$!
  pids+=("$pid")
}

is_gone() { ! kill -0 "$1" 2>/dev/null; }

# ended PID SECONDS: waits for its end and gives its exit code in $code; kills it at the deadline.
ended() {
  if ! within "$2" is_gone "$1"; then
    kill -9 "$1" 2>/dev/null || true
    code="still running after $2 s"
    return
  fi
  code=0
  wait "$1" || code=$?
}

# run COMMAND...: to its end; exit code in $code, output in $output.
# shellcheck disable=SC2034 # read by those that source this
run() {
  code=0
  output=$(timeout 20 "$@" 2>&1 </dev/null) || code=$?
}

# ask URL [CURL ARGUMENTS]: status in $status, fields in $work/head, content in $work/body.
ask() {
  : >"$work/body" # curl leaves the file alone where there is no content
  status=$(curl --silent --show-error --max-time 40 --dump-header "$work/head" --output "$work/body" \
    --write-out '%{http_code}' "$@" 2>"$work/curl.err") || status="curl: $(cat "$work/curl.err")"
  cat "$work/head" >>"$work/heads" # of all answers
}

# field NAME: of the last answer.
field() {
  sed -n "s/^$1: *//Ip" "$work/head" | tr -d '\r'
}

# json FILTER: of the last answer's content.
json() {
  jq -r "$1" "$work/body" 2>&1
}

# calls: how many requests the simulated Talkdesk has had at both of its ends, as `tokens+api`.
calls() {
  curl --silent --max-time 10 ${ca:+--cacert "$ca"} "$simulator/_simulator/counters" |
    jq -r '"\(.tokens.total)+\(.api.total)"'
}

# fault JSON: installs one at the simulated Talkdesk.
fault() {
  curl --silent --max-time 10 ${ca:+--cacert "$ca"} --fail -X POST --data "$1" "$simulator/_simulator/faults" >/dev/null
}

# metric SERIES: its value at the admin plane, 0 where there is none.
metric() {
  curl --silent --max-time 10 "$admin/metrics" | awk -v series="billing_insights_proxy_$1" \
    '$1 == series { value = $2 } END { print value + 0 }'
}

answers() { curl --silent --fail --max-time 5 --output /dev/null "$@"; }

# refused NAME STATUS CODE URL [CURL ARGUMENTS]: a refusal as it should be, at no cost to Talkdesk.
refused() {
  local name=$1 wanted=$2 code=$3 before after
  shift 3
  before=$(calls)
  ask "$@"
  after=$(calls)
  equal "$name: status, code and media type" "$wanted $code application/problem+json" \
    "$status $(json .code) $(field content-type)"
  matches "$name: has a request id, the same in field and content" '^[0-9a-f-]{36} true$' \
    "$(field x-request-id) $(json ".request_id == \"$(field x-request-id)\"")"
  equal "$name: says what happened, in both shapes, and is not stored" "true no-store" \
    "$(json '(.status|tostring) == "'"$wanted"'" and (.title|length) > 0 and (.detail|length) > 0 and (.message|length) > 0
      and (.type|length) > 0 and (.fields|type) == "array"') $(field cache-control)"
  equal "$name: Talkdesk was not asked" "$before" "$after"
}

# walk URL MEMBER: follows _links.next.href unchanged from URL to the end. Records in $work/records (one a line), all
# hrefs in $work/hrefs, all the pages' sizes in $pages.
walk() {
  local url=$1 member=$2
  pages=0
  : >"$work/records"
  : >"$work/hrefs"
  while [[ -n "$url" ]]; do
    ask "$url"
    [[ "$status" == 200 ]] || { fail "walk: $url answers 200" "$status $(head -c 500 "$work/body")"; return; }
    pages=$((pages + 1))
    jq -c "._embedded.${member}[]" "$work/body" >>"$work/records"
    jq -r '.. | .href? // empty' "$work/body" >>"$work/hrefs"
    url=$(json '._links.next.href // empty')
    ((pages < 200)) || { fail "walk: $1 comes to an end" "still a next after 200 pages: $url"; return; }
  done
}

distinct_ids() { jq -r .id "$work/records" | sort -u | wc -l; }
accounts() { jq -r .account_id "$work/records" | sort -u | paste -sd' '; }
foreign_hrefs() { grep -vcF "$1" "$work/hrefs" || true; }

finish() {
  printf '%d passed, %d failed\n' "$passed" "$failed"
  ((failed == 0 && passed > 0))
}
