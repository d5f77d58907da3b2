#!/bin/busybox sh
# The first process of the virtual machine: a forwarder between two network namespaces, agents on
# both sides, and what the near one has measured, written to the console.
#
# The host reads lines that begin with VMTEST, and the pages between two of them. Whatever happens
# is a line, and the machine ends: nobody waits for a console that has become silent.

# NETEM_MS, SPIN_MS and STOP_MS: the host injects, and knows what must come back.
. /etc/delays
NEAR_PAGE=19747
CALLER_PAGE=19757

/bin/busybox mkdir -p /bin /proc /sys /dev /run /tmp /var/lib/haproxy
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup

# The shell would take busybox's own.
ip() { /usr/sbin/ip "$@"; }
tc() { /usr/sbin/tc "$@"; }

say() { echo "VMTEST $*"; }

# Seconds since the machine was started.
uptime_s() { cut -d' ' -f1 /proc/uptime; }

finish() {
  say "$@"
  poweroff -f
  # It takes effect a moment later.
  sleep 60
}

fail() {
  for log in /run/*.log; do
    echo "--- $log"
    tail -n 40 "$log"
  done
  echo "--- the probe"
  metrics $CALLER_PAGE | grep -E '^insight_(probe_(results|failures)|lost)'
  echo "--- the kernel half"
  metrics $NEAR_PAGE | grep -E '^insight_(measurement_state|lost)'
  finish "failed $*"
}

# ---- what it takes ------------------------------------------------------------------------------

load() {
  for file in /modules/"$1".ko*; do
    case $file in
      *.xz) xzcat "$file" >/tmp/module.ko && file=/tmp/module.ko ;;
    esac
    insmod "$file" || fail "load the module $1"
  done
}

# What the firmware sent to a terminal has no end of line.
echo
say "kernel $(uname -r) at $(uptime_s)"
load veth
load sch_netem

ip link set lo up || fail "bring lo up"
ip netns add far || fail "make the network namespace"
ip link add near type veth peer name far netns far || fail "make the pair of interfaces"
ip addr add 10.77.0.1/24 dev near && ip link set near up || fail "address the near end"
ip -n far addr add 10.77.0.2/24 dev far && ip -n far link set far up && ip -n far link set lo up ||
  fail "address the far end"
# Of no effect yet, as the spin.
tc -n far qdisc add dev far root netem delay 0ms || fail "add netem"
echo 0 >/run/spin_ms

# ---- the agents and the forwarder ----------------------------------------------------------------

alive() { kill -0 "$1" 2>/dev/null || fail "$2 has ended"; }

ip netns exec far insight-agent run --config /etc/far.toml >/run/far.log 2>&1 &
FAR=$!
haproxy -db -f /etc/haproxy.cfg >/run/haproxy.log 2>&1 &
HAPROXY=$!
insight-agent run --config /etc/near.toml >/run/near.log 2>&1 &
NEAR=$!
CALLER=$NEAR

all_alive() {
  alive $FAR "the far agent"
  alive $HAPROXY "the forwarder"
  alive $NEAR "the near agent"
  alive $CALLER "the caller"
}

# Not wget's own -T: Debian's busybox 1.35 crashes on it.
metrics() { timeout 10 wget -q -O - "http://127.0.0.1:$1/metrics"; }

# Answers of the far agent to the probes so far.
answers() {
  metrics $CALLER_PAGE 2>/dev/null |
    awk '/^insight_probe_results_total.*status="OK"/ { sum += $NF } END { print sum + 0 }'
}

# Waits for so many more answers: on a busy host a second holds fewer of them.
wait_for() {
  local count until
  count=$(answers)
  until=$((${count:-0} + $1))
  for _ in $(seq 240); do
    count=$(answers)
    [ "${count:-0}" -ge "$until" ] && return
    all_alive
    sleep 0.25
  done
  fail "no $1 answers in a minute"
}

# What the near agent has measured by now. It reads the kernel's maps twice a second.
page() {
  sleep 0.7
  say "page $1 at $(uptime_s)"
  metrics $NEAR_PAGE >/tmp/page || fail "read /metrics"
  grep -E '^insight_(measurement_state|lost_total|socket_|sockets_|forward_|bpf_table_)' /tmp/page
  say "end $1"
}

# No connection before the programs are attached: an old kernel does not measure it.
for _ in $(seq 240); do
  metrics $NEAR_PAGE 2>/dev/null | grep -q 'measurement="socket_rtt"' && loaded=yes && break
  all_alive
  sleep 0.25
done
[ -n "$loaded" ] || fail "the near agent tells no states after a minute"
say "agent started at $(uptime_s)"

insight-agent run --config /etc/caller.toml >/run/caller.log 2>&1 &
CALLER=$!
wait_for 20

# ---- measured without and with the delays -------------------------------------------------------

page quiet-begin
wait_for 40
page quiet-end

tc -n far qdisc change dev far root netem delay ${NETEM_MS}ms || fail "change netem"
echo $SPIN_MS >/run/spin_ms
# A moving average forgets what was before: after 20 samples it is within 7 percent.
wait_for 20
page delayed-begin
wait_for 40
page delayed-end

tc -n far qdisc change dev far root netem delay 0ms || fail "change netem"
echo 0 >/run/spin_ms
wait_for 5
page stopped-begin
# It stands still for most of the time, so most requests find it so.
for _ in $(seq 8); do
  kill -STOP $HAPROXY
  usleep ${STOP_MS}000
  kill -CONT $HAPROXY
  usleep 100000
done
page stopped-end

finish done
