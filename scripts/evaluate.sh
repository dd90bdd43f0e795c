#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/evaluate.sh [FOLDER]
# How well scores and rules tell attacks from ordinary traffic. Both are real traffic between two
# network namespaces: first ordinary clients alone, then the same clients while one attack after
# the other runs, ROUNDS times. Records and labels are left in FOLDER. It takes about 19 minutes, and
# needs root, dist/otelcol-ebpf-tcp, nmap, hping3, slowhttptest, hydra, ab, sshd, ssh.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
folder=$(realpath -m "${1:-$(mktemp -d)}")
mkdir -p "$folder"
collector=${EBPF_TCP_COLLECTOR:-dist/otelcol-ebpf-tcp}
server=ebpf-tcp-eval-s clients=ebpf-tcp-eval-c
address=10.77.0.1
training=${TRAINING:-180} testing=${TESTING:-120} attack=${ATTACK:-20} rounds=${ROUNDS:-3}

started=()
finish() {
	for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait
	ip netns del $server 2>/dev/null || true
	ip netns del $clients 2>/dev/null || true
}
trap finish EXIT

ip netns add $server
ip netns add $clients
ip -n $server link add eval0 type veth peer name eval0 netns $clients
ip -n $server addr add $address/16 dev eval0
for ns in $server $clients; do
	ip -n $ns link set lo up
	ip -n $ns link set eval0 up
done
ordinary=()
for i in $(seq 1 60); do ordinary+=("10.77.1.$i"); done
for a in "${ordinary[@]}"; do ip -n $clients addr add "$a/16" dev eval0; done
administrators=(10.77.1.101 10.77.1.102 10.77.1.103)
for a in "${administrators[@]}"; do ip -n $clients addr add "$a/16" dev eval0; done
for i in $(seq 1 $((12 * rounds))); do ip -n $clients addr add "10.77.2.$i/16" dev eval0; done

go build -o "$folder/evaluation" ./scripts/evaluation
ip netns exec $server "$folder/evaluation" serve $address &
started+=($!)
for key in hostkey key; do ssh-keygen -q -t ed25519 -N '' -f "$folder/$key" <<<y >/dev/null; done
mkdir -p /run/sshd
ip netns exec $server "$(command -v sshd)" -D -q -h "$folder/hostkey" -o ListenAddress=$address -o UsePAM=no -o MaxStartups=100 \
	-o PidFile=none -o StrictModes=no -o AuthorizedKeysFile="$folder/key.pub" &
started+=($!)

cat >"$folder/config.yaml" <<YAML
receivers:
  ebpf_tcp:
    sources: {enabled: true, min_attempts: 1}
    interfaces: {include: [eval0]}
exporters:
  file: {path: $folder/records.json}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [file]}
YAML
rm -f "$folder/records.json"
ip netns exec $server "$collector" --config "$folder/config.yaml" >"$folder/collector.log" 2>&1 &
started+=($!)
for _ in $(seq 100); do
	! grep -q 'Everything is ready' "$folder/collector.log" || break
	sleep 0.2
done

# Each attack has an address of its own, which it takes as the route's source. SOURCE stands for it.
n=0
attack() {
	local name=$1
	shift
	n=$((n + 1))
	ip -n $clients route replace 10.77.0.0/16 dev eval0 src "10.77.2.$n"
	echo "10.77.2.$n $name" >>"$folder/labels"
	echo "evaluate: $name from 10.77.2.$n"
	# Some tools leave files where they run.
	(cd "$folder" && ip netns exec $clients timeout "$attack" "${@//SOURCE/10.77.2.$n}") >>"$folder/attacks.log" 2>&1 || true
	sleep 2
}

# Somebody logs in by key, works or copies something, and comes again.
administer() {
	while sleep $((RANDOM % 12)); do
		ip netns exec $clients ssh -q -b "$1" -i "$folder/key" -o BatchMode=yes -o StrictHostKeyChecking=no \
			-o UserKnownHostsFile=/dev/null root@$address "sleep 0.$((RANDOM % 10)); head -c $((RANDOM % 9))000 /dev/zero" >/dev/null || true
	done
}

: >"$folder/labels"
for a in "${ordinary[@]}" "${administrators[@]}"; do echo "$a ordinary" >>"$folder/labels"; done
for a in "${administrators[@]}"; do
	administer "$a" &
	started+=($!)
done
echo "evaluate: ordinary traffic for $((training + testing)) s"
ip netns exec $clients "$folder/evaluation" clients $address $((training + testing + 12 * rounds * (attack + 3) + 60))s "${ordinary[@]}" &
started+=($!)
sleep "$training"
date +%s%N >"$folder/trained"
sleep "$testing"

printf '%s\n' {a..z}{a..z} >"$folder/passwords"
for _ in $(seq "$rounds"); do
	attack connect_scan nmap -n -Pn -sT -T4 -p1-1000 $address
	attack syn_scan nmap -n -Pn -sS -T4 -p1-1000 -S SOURCE -e eval0 $address
	attack stealth_scan nmap -n -Pn -sF -T4 -p1-1000 -S SOURCE -e eval0 $address
	attack stealth_scan nmap -n -Pn -sX -T4 -p1-1000 -S SOURCE -e eval0 $address
	attack stealth_scan nmap -n -Pn -sN -T4 -p1-1000 -S SOURCE -e eval0 $address
	attack ack_scan nmap -n -Pn -sA -T4 -p1-1000 -S SOURCE -e eval0 $address
	attack slow_connect_scan nmap -n -Pn -sT --scan-delay 1s --max-retries 0 -p1000-1100 $address
	attack syn_flood hping3 -q -I eval0 -S -p 80 -i u500 -a SOURCE $address
	attack slow_headers slowhttptest -H -c 100 -r 50 -i 5 -l "$attack" -u http://$address:80/
	attack slow_body slowhttptest -B -c 100 -r 50 -i 5 -l "$attack" -u http://$address:8080/
	attack ssh_guessing hydra -q -I -t 4 -l root -P "$folder/passwords" ssh://$address
	attack http_flood ab -q -n 1000000 -c 50 -t "$attack" http://$address:80/
done
sleep 12
EBPF_TCP_EVALUATION=$folder go test -count=1 -tags evaluation -v -run '^TestEvaluateScores$' ./connector/threats
