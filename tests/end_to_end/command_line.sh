#!/usr/bin/env bash
# The command line when something is wrong: exit codes, and messages that name the fault and the remedy.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

run "$BINARY" --version
version=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)
matches "--version, with the revision" "^0 billing-insights-proxy ${version//./\\.} \(revision [^ ]+\)$" "$code $output"
run "$BINARY" schema
equal "schema: a JSON Schema of this draft, with the sections" \
  '0 https://json-schema.org/draft/2020-12/schema cache,entitlement,instances,limits,log,metrics,organizations,server,upstream' \
  "$code $(jq -r '"\(."$schema") \(.properties | keys | join(","))"' <<<"$output")"
equal "schema --markdown: the page that is shipped" "$(cat docs/configuration.md)" "$("$BINARY" schema --markdown)"
for shell in zsh fish; do
  run "$BINARY" completions $shell
  matches "completions for $shell: the commands are in them" '^0 .*billing-insights-proxy.*explain' "$code ${output//$'\n'/ }"
done
"$BINARY" completions bash >"$work/completions.bash"
completed() { # as bash asks when somebody presses the tab key behind these words
  bash -c '. "$1"; COMP_WORDS=(billing-insights-proxy "${@:2}"); COMP_CWORD=$(($# - 1))
    _billing-insights-proxy billing-insights-proxy "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[*]}"' - "$work/completions.bash" "$@"
}
equal "a command is completed by bash" explain "$(completed ex)"
equal "a flag is completed by bash" --config "$(completed serve --c)"
run "$BINARY" completions nonsense
equal "completions for no shell: exit code 2" 2 "$code"
run "$BINARY" --help
matches "--help names the commands" '0 .*serve.*demo.*simulate.*check' "$code ${output//$'\n'/ }"
run "$BINARY"
equal "no command: exit code 2" 2 "$code"
run "$BINARY" nonsense
equal "an unknown command: exit code 2" 2 "$code"
run "$BINARY" serve
equal "no configuration named: exit code 2" 2 "$code"

run "$BINARY" health --address 127.0.0.1:1
matches "health where nothing listens: exit code 1, with the address" '^1 error: no connection to 127.0.0.1:1' "$code $output"

for command in check serve; do
  run "$BINARY" $command --config "$work/nowhere.yaml"
  equal "$command, no such file: exit code 2" 2 "$code"
  contains "$command, no such file: named, with the remedy" "$work/nowhere.yaml: there is no such file" "$output"
done

cat >"$work/broken.yaml" <<'YAML'
server:
  listen: 0.0.0.0:8080
  lissten: 127.0.0.1:1
cache:
  max_bytes: 12 bananas
organizations:
  - id: acme
    name: Acme Partners
    credential:
      account: acme
      client_id: abc
      client_secret: { file: acme-client-secret }
instances:
  - name: globex
    organization: Acme Partners
    account_id: xyz
  - name: hooli
YAML
for command in check serve; do
  run "$BINARY" $command --config "$work/broken.yaml"
  equal "$command, a broken configuration: exit code 2" 2 "$code"
  for fault in 2:11:\ server.listen 3:3:\ server.lissten 5:14:\ cache.max_bytes \
    '15:19: instances[0].organization' '16:17: instances[0].account_id' '17:5: instances[1].organization'; do
    contains "$command, a broken configuration: told of $fault" "$work/broken.yaml:$fault" "$output"
  done
done
printf 'server: [\n' >"$work/broken.yaml"
run "$BINARY" check --config "$work/broken.yaml"
matches "no YAML at all: exit code 2, with the place" "^2 $work/broken.yaml:[0-9]+:[0-9]+: " "$code $output"

run env -u CREDENTIALS_DIRECTORY "$BINARY" check --config config.example.yaml
equal "the example without its secrets: exit code 2" 2 "$code"
contains "the example without its secrets: each is named" "organizations/acme" "$output"
contains "the example without its secrets: and the other" "instances/globex" "$output"

# --- A machine without certificate authorities -------------------------------------------------------------------
start bare env SSL_CERT_FILE=/nonexistent SSL_CERT_DIR=/nonexistent \
  "$BINARY" demo --listen 127.0.0.1:0 --admin 127.0.0.1:0 --simulator 127.0.0.1:0
holds "the demo needs no certificate authority" within 20 grep -q 'Ctrl-C ends it' "$work/bare.out"
kill -TERM "$pid"
ended "$pid" 10
cat >"$work/https.yaml" <<'YAML'
server: { listen: "127.0.0.1:0", admin: "127.0.0.1:0" }
instances:
  - name: globex
    organization: Talkdesk
    account_id: 5ea75fe7aa224700012eae41
    credential: { client_id: 9b3d7e21c4a84f60, client_secret: { env: GLOBEX_SECRET } }
YAML
run env SSL_CERT_FILE=/nonexistent SSL_CERT_DIR=/nonexistent GLOBEX_SECRET=one "$BINARY" serve --config "$work/https.yaml"
equal "serve does, where the API is https: exit code 1" 1 "$code"
contains "serve does: told what to install" ca-certificates "$output"

# --- Explained ---------------------------------------------------------------------------------------------------
run "$BINARY" explain instances/josephpinetrees '/express/invoices?page=2' --config config.example.yaml
equal "explain a grant: exit code 0" 0 "$code"
contains "explain a grant: the URL that would be sent" 'filter=account_id%20eq%20%275ea75fe7aa224700012eae40%27&page=2' "$output"
run "$BINARY" explain instances/initech /express/invoices --config config.example.yaml
contains "explain a denial: the rule" 'denied      reseller_sold' "$output"
run "$BINARY" explain --all --format csv --config config.example.yaml
contains "explain everything: a line for each" 'instances/initech,invoices,denied,reseller_sold,' "$output"
run "$BINARY" explain organizations/nobody /express/invoices --config config.example.yaml
equal "explain nobody: exit code 2" 2 "$code"
run "$BINARY" explain organizations/acme --config config.example.yaml
equal "explain without a path: exit code 2" 2 "$code"

# --- Ports that are in use ---------------------------------------------------------------------------------------
start demo "$BINARY" demo --listen 127.0.0.1:0 --admin 127.0.0.1:0 --simulator 127.0.0.1:0
holds "a demo is running" within 20 grep -q 'Ctrl-C ends it' "$work/demo.out"
for flag in listen admin simulator; do
  case $flag in
    listen) line='The proxy:' ;;
    admin) line='Status page' ;;
    simulator) line='The simulated' ;;
  esac
  taken=$(sed -n "s|^$line.*http://\(127.0.0.1:[0-9]*\)/\{0,1\}.*|\1|p" "$work/demo.out" | head -1)
  arguments=(--listen 127.0.0.1:0 --admin 127.0.0.1:0 --simulator 127.0.0.1:0)
  for index in 0 2 4; do
    [[ "${arguments[index]}" != "--$flag" ]] || arguments[index + 1]=$taken
  done
  run "$BINARY" demo "${arguments[@]}"
  equal "--$flag in use: exit code 1" 1 "$code"
  contains "--$flag in use: named" "$taken" "$output"
  equal "--$flag in use: no panic" 0 "$(grep -c panicked <<<"$output" || true)"
done
kill -INT "$pid"
ended "$pid" 10
equal "Ctrl-C: exit code 0" 0 "$code"

finish
