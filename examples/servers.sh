# What the scripts of the examples share; they source it. It sets `root`, `weir` (WEIR names another binary) and `work`, a
# temporary folder, and ends everything that is in `started` when the script ends.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
weir=${WEIR:-$root/target/release/weir}
[ -x "$weir" ] || (cd "$root" && cargo build --release --locked)
"$root/tests/servers/install"
work=$(mktemp -d)
started=()
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2> /dev/null || true; done
  wait 2> /dev/null || true
  rm -rf "$work"
}
trap finish EXIT

# A port that nobody listens on.
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Tries a command until it succeeds, for five minutes.
until_true() {
  for _ in $(seq 1500); do
    if "$@" > /dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  echo "no answer: $*" >&2
  return 1
}

# One of Kafka's tools: its class, then its arguments.
tool() { java -cp "$root/target/servers/kafka-4.1.1/*" "$1" --bootstrap-server "$KAFKA" "${@:2}"; }

# Starts a broker and sets KAFKA to its address.
start_kafka() {
  "$root/tests/servers/kafka" "$work/kafka" &
  started+=($!)
  until_true test -s "$work/kafka/address"
  export KAFKA=$(cat "$work/kafka/address")
  until_true tool org.apache.kafka.tools.TopicCommand --list
}

# Makes topics: `topics PARTITIONS NAME…`.
topics() {
  local name
  for name in "${@:2}"; do tool org.apache.kafka.tools.TopicCommand --create --topic "$name" --partitions "$1" > /dev/null; done
}

# Sends lines of key, tab, value from standard input to a topic; the value NULL stands for none.
send_to() {
  tool org.apache.kafka.tools.ConsoleProducer --topic "$1" --property parse.key=true --property null.marker=NULL
}

# The values in a topic so far, of transactions that are complete.
values_of() {
  tool org.apache.kafka.tools.consumer.ConsoleConsumer --topic "$1" --from-beginning --timeout-ms 8000 \
    --isolation-level read_committed 2> /dev/null
}

# Starts PostgreSQL, sets POSTGRES to its address and defines `ask`, which asks it as psql does.
start_postgres() {
  local port bin server
  port=$(free) bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1) server=()
  export POSTGRES=127.0.0.1:$port
  mkdir "$work/postgres"
  # It refuses to run as root.
  if [ "$(id -u)" = 0 ]; then
    server=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    chmod 711 "$work" && chown postgres "$work/postgres"
  fi
  "${server[@]}" "$bin/initdb" -A trust -U postgres -E UTF8 --locale=C.UTF-8 -D "$work/postgres/data" > /dev/null
  "${server[@]}" "$bin/postgres" -D "$work/postgres/data" -p "$port" -h 127.0.0.1 -k "$work/postgres" > "$work/postgres.log" 2>&1 &
  started+=($!)
  ask() { psql -h 127.0.0.1 -p "${POSTGRES#*:}" -U postgres -v ON_ERROR_STOP=1 "$@"; }
  until_true ask -c "SELECT 1"
}

# Starts MariaDB, sets MYSQL to its address and defines `mysql_ask`, which asks it as root without a password.
start_mariadb() {
  local port
  port=$(free)
  export MYSQL=127.0.0.1:$port
  # Not in /tmp: a server that starts removes what looks like a temporary table there, also of others.
  export TMPDIR=$work
  mariadb-install-db --no-defaults --user=root --auth-root-authentication-method=normal --datadir="$work/mysql" > /dev/null
  mariadbd --no-defaults --user=root --bind-address=127.0.0.1 --datadir="$work/mysql" --socket="$work/socket" \
    --port="$port" --character-set-server=utf8mb4 > "$work/mysql.log" 2>&1 &
  started+=($!)
  mysql_ask() { mariadb --no-defaults --socket="$work/socket" -u root --default-character-set=utf8mb4 "$@"; }
  until_true mysql_ask -e "SELECT 1"
}

# Starts the job SCRIPT with further arguments, sets `job` to its process and `listen` to the address of its HTTP interface,
# and returns when its first epoch is complete.
start_job() {
  listen=127.0.0.1:$(free)
  "$weir" run "$@" --state "$work/state" --listen "$listen" &
  job=$!
  started+=("$job")
  until_true bash -c "curl -sf http://$listen/metrics | grep -q '^weir_epochs_total{.*} [1-9]'"
}

# The sum of one of the job's metrics over all lines that fit a pattern.
metric() { curl -sf "http://$listen/metrics" | awk -v name="^$1[{]" -v fits="${2:-.}" '$0 ~ name && $0 ~ fits { n += $NF } END { print n + 0 }'; }
reaches() { [ "$(metric "$1" "${3:-.}")" -ge "$2" ]; }

# Waits until the job's sources have given out N rows in all and two more epochs are complete: what follows from the rows has been done.
settled() {
  until_true reaches weir_operator_rows_out_total "$1" 'operator="source '
  until_true reaches weir_epochs_total $(($(metric weir_epochs_total) + 2))
}
