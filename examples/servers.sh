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

# Starts the job SCRIPT with further arguments, sets `job` to its process and `listen` to the address of its HTTP interface,
# and returns when its first epoch is complete.
start_job() {
  listen=127.0.0.1:$(free)
  "$weir" run "$@" --state "$work/state" --listen "$listen" &
  job=$!
  started+=("$job")
  until_true bash -c "curl -sf http://$listen/metrics | grep -q '^weir_epochs_total{.*} [1-9]'"
}
