#!/usr/bin/env bash
# The first command of the README, as it stands there (ports are added only where the default ones are in use), and
# the first request.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

command='cargo run --release -- demo'
if [[ -e README.md ]]; then
  seen=$(sed -n 's/^\(\$ \)\{0,1\}\(cargo run .*demo\).*$/\2/p' README.md | head -1)
  equal "the README's first command" "$command" "$seen"
fi
read -ra words <<<"$command"
for port in 8080 9090 9480; do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "port $port is in use here, so the command gets --listen, --admin and --simulator"
    words+=(--listen 127.0.0.1:0 --admin 127.0.0.1:0 --simulator 127.0.0.1:0)
    break
  fi
done

# In a process group of its own: cargo does not pass signals on.
start first setsid "${words[@]}"
group=$pid
trap 'kill -9 -- "-$group" 2>/dev/null || true; clean_up' EXIT
up() { grep -q 'Ctrl-C ends it' "$work/first.out" || is_gone "$group"; }
within 1800 up || true
if ! grep -q 'Ctrl-C ends it' "$work/first.out"; then
  fail "${words[*]} starts" "$(tail -5 "$work/first.err")"
  finish
  exit 1
fi
pass "${words[*]} starts"
tries=$(sed -n 's/^   \(curl .*\)/\1/p' "$work/first.out")
matches "it shows requests to try" '^curl ' "$tries"
while read -r try; do
  seen=$(bash -c "$try" 2>&1) || true
  matches "$try" 'count|reseller_sold|[Cc]ache-[Ss]tatus' "$seen"
done <<<"$tries"
kill -TERM -- "-$group"
demo_ended() { ! pgrep -g "$group" >/dev/null; }
holds "it ends at SIGTERM" within 20 demo_ended

finish
