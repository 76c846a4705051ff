#!/usr/bin/env bash
# The files of deploy/ at work: nginx and Caddy in front of the proxy with the snippets as they are but for ports and
# certificates, and the configurations of the Kubernetes files. NGINX, CADDY and PYTHON name the programs.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

NGINX=${NGINX:-nginx}
CADDY=${CADDY:-caddy}
PYTHON=${PYTHON:-python3}

free_port() {
  "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

secrets=$work/secrets
start simulator "$BINARY" simulate --write-credentials "$secrets" --listen 127.0.0.1:0
holds "the simulated Talkdesk starts" within 20 grep -q '^counters and faults' "$work/simulator.out"
export CREDENTIALS_DIRECTORY=$secrets

# --- Kubernetes: the configurations inside -----------------------------------------------------------------------
for file in deploy/kubernetes/*.yaml; do
  "$PYTHON" - "$file" >"$work/config.yaml" <<'PYTHON'
import sys, yaml
maps = [item for item in yaml.safe_load_all(open(sys.argv[1])) if item["kind"] == "ConfigMap"]
print(maps[0]["data"]["config.yaml"])
PYTHON
  holds "the configuration in $file passes check" "$BINARY" check --config "$work/config.yaml"
done

# --- The proxy as the snippets ask for ---------------------------------------------------------------------------
snippet_server() { # the lines of the snippet's own comment
  sed -n 's/^# \{0,1\}//; /^  server:/,/^    allowed_hosts/p' "$1" | sed 's/^  //'
}
equal "both snippets want the same of the proxy" "$(snippet_server deploy/nginx/billing-insights-proxy.conf)" \
  "$(snippet_server deploy/caddy/Caddyfile)"
cat >"$work/config.yaml" <<YAML
$(snippet_server deploy/caddy/Caddyfile)
  listen: 127.0.0.1:0
  admin: 127.0.0.1:0
upstream:
  api_url: $(sed -n 's/^upstream.api_url: *//p' "$work/simulator.out")
  token_url: "$(sed -n 's/^upstream.token_url: *//p' "$work/simulator.out")"
organizations:
  - id: acme
    name: Acme Partners
    credential: { account: acme, client_id: 2f1c9a0e5b7d4c31, client_secret: { file: acme-client-secret } }
YAML
start proxy "$BINARY" serve --config "$work/config.yaml"
holds "the proxy serves" within 20 grep -q '"message":"serving"' "$work/proxy.err"
data=$(grep '"message":"serving"' "$work/proxy.err" | jq -r .data)

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=billing.example \
  -addext subjectAltName=DNS:billing.example -keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/openssl.err"

# in_front NAME PORT: what a client sees that knows nothing but https://billing.example
in_front() {
  local name=$1 port=$2 lines=0 strays=0
  local url="https://billing.example/organizations/acme/express/invoices?per_page=50"
  local -a there=(--connect-to "billing.example:443:127.0.0.1:$port" --cacert "$work/cert.pem")
  if ! within 20 curl --silent --max-time 5 "${there[@]}" https://billing.example/; then
    fail "$name answers" "$(tail -5 "$work/$name.err")"
    return
  fi
  while [[ -n "$url" ]]; do
    ask "$url" "${there[@]}"
    [[ "$status" == 200 ]] || { fail "$name: $url" "$status $(head -c 300 "$work/body")"; return; }
    lines=$((lines + $(json '._embedded.invoices | length')))
    strays=$((strays + $(json '[.. | .href? // empty | select(startswith("https://billing.example/") | not)] | length')))
    url=$(json '._links.next.href // empty')
  done
  equal "$name: all pages by following next, over TLS" "400 lines, 0 stray links" "$lines lines, $strays stray links"
  equal "$name: HTTP/2 to the client" 2 "$(curl --silent --max-time 10 "${there[@]}" --output /dev/null \
    --write-out '%{http_version}' https://billing.example/)"
  ask --path-as-is "https://billing.example/organizations/acme/express/%2e%2e/express/invoices" "${there[@]}"
  equal "$name: a target with two readings arrives as it was sent, and is refused" "400 invalid_target" \
    "$status $(json .code)"
  ask "https://billing.example/organizations/acme/express/invoices?per_page=50" "${there[@]}" \
    -H 'Origin: https://evil.example'
  equal "$name: other sites' pages are refused" "403 origin_not_allowed" "$status $(json .code)"
}

port=$(free_port)
mkdir "$work/nginx"
cat >"$work/nginx/nginx.conf" <<CONF
daemon off;
pid $work/nginx/pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path $work/nginx/a; proxy_temp_path $work/nginx/b; fastcgi_temp_path $work/nginx/c;
  uwsgi_temp_path $work/nginx/d; scgi_temp_path $work/nginx/e;
$(sed -e "s|listen 443 |listen 127.0.0.1:$port |" -e "s|http://127.0.0.1:8080|http://$data|" \
    -e "s|/etc/ssl/billing.example.pem|$work/cert.pem|" -e "s|/etc/ssl/private/billing.example.key|$work/key.pem|" \
    deploy/nginx/billing-insights-proxy.conf)
}
CONF
chmod 755 "$work"
holds "nginx accepts the snippet" "$NGINX" -t -p "$work/nginx" -c "$work/nginx/nginx.conf" -e stderr
start nginx "$NGINX" -p "$work/nginx" -c "$work/nginx/nginx.conf" -e stderr
nginx=$pid
in_front nginx "$port"
kill -QUIT "$nginx"
ended "$nginx" 10

port=$(free_port)
{
  printf '{\n\tadmin off\n\tauto_https disable_redirects\n}\n'
  sed -e "s|^billing.example {|https://billing.example:$port {|" -e "s|127.0.0.1:8080|$data|" \
    -e "s|/etc/ssl/billing.example.pem|$work/cert.pem|" -e "s|/etc/ssl/private/billing.example.key|$work/key.pem|" \
    deploy/caddy/Caddyfile
} >"$work/Caddyfile"
export XDG_DATA_HOME=$work XDG_CONFIG_HOME=$work
holds "Caddy accepts the snippet" "$CADDY" validate --adapter caddyfile --config "$work/Caddyfile"
start caddy "$CADDY" run --adapter caddyfile --config "$work/Caddyfile"
in_front caddy "$port"

finish
