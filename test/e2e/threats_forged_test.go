// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const (
	// forged sources send a SYN each. The first ones bring the process to the memory that it needs
	// for any number of them.
	forged, forgedFirst = 1_000_000, 100_000
	// forgedOver is how long all take.
	forgedOver = "5s"
	// scannedPorts are what one true source tries meanwhile.
	scannedPorts = 300
	// flat is what may vary in a process's memory.
	flat = 16 << 20
)

// flooded is a collector under a flood of forged sources, and what it said about them.
type flooded struct {
	*judged
	sent, dropped int64
}

// flood sends a SYN from each of so many sources, and waits until each is accounted.
func (f *flooded) flood(t *testing.T, sources int, over string, meanwhile func()) {
	t.Helper()
	a := f.client.act(t, "flood", f.At(80).String(), "sources", strconv.FormatInt(f.sent, 10), strconv.Itoa(sources), over)
	a.ready(t)
	meanwhile()
	var done lab.Work
	require.NoError(t, a.Result(&done))
	require.EqualValues(t, sources, done.Done)
	f.sent += done.Done
	f.dropped = int64(leading(t, f.client.run(t, "cat", "/sys/class/net/eth0/statistics/tx_dropped")))
	require.Eventually(t, func() bool { return f.counted(t, "tcp.source.syn.listening.count", "") >= f.sent-f.dropped }, settle, tick)
	assert.Equal(t, f.sent-f.dropped, f.counted(t, "tcp.source.syn.listening.count", ""))
}

// counted sums up an attribute over the records of a source, or of all.
func (f *flooded) counted(t *testing.T, attribute, prefix string) (sum int64) {
	t.Helper()
	for _, r := range f.out.records(t, func(r record) bool {
		return r.event == "tcp.server.source" && (prefix == "" || r.values["tcp.source.prefix"] == prefix)
	}) {
		if _, there := r.values[attribute]; there {
			sum += int64(r.number(t, attribute))
		}
	}
	return sum
}

func (f *flooded) memory(t *testing.T) (resident, maps float64) {
	t.Helper()
	process, err := lab.Status(f.agent.PID())
	require.NoError(t, err)
	kernel, err := lab.KernelUseOf(f.agent.PID())
	require.NoError(t, err)
	return leading(t, process["VmRSS"]) * 1024, float64(kernel.MapBytes)
}

// TestAMillionForgedSources: memory stays flat, each SYN counts once, and a scanner beside them is found
// with its true count. Nobody else is named.
func TestAMillionForgedSources(t *testing.T) {
	f := &flooded{judged: startWatch(t, "")}
	f.server.startServer(t, 80)
	require.NoError(t, f.RouteToClient(lab.FloodSources()))
	f.flood(t, forgedFirst, "1s", func() {})
	resident, maps := f.memory(t)
	f.flood(t, forged-forgedFirst, forgedOver, func() {
		f.client.run(t, "nmap", "-n", "-Pn", "-sS", "--max-retries", "0", "--max-rate", "100", "-p", fmt.Sprintf("1001-%d", 1000+scannedPorts), f.Server4.String())
	})
	scanner := f.Client4.String() + "/32"
	require.Eventually(t, func() bool { return f.counted(t, "tcp.source.syn.closed.count", scanner) >= scannedPorts }, settle, tick)
	f.quiet(t)
	assert.EqualValues(t, scannedPorts, f.counted(t, "tcp.source.syn.closed.count", scanner))
	assert.EqualValues(t, scannedPorts, f.counted(t, "tcp.source.syn.closed.count", ""))
	residentAfter, mapsAfter := f.memory(t)
	t.Logf("%d SYNs, %d dropped before the receiver; resident %.1f MiB, then %.1f", f.sent, f.dropped, resident/(1<<20), residentAfter/(1<<20))
	assert.Less(t, residentAfter, resident+flat)
	assert.InDelta(t, maps, mapsAfter, 0)
	found := map[any]any{}
	for _, r := range f.threats(t, "begin") {
		found[r.values["security_rule.name"]] = r.values["client.address"]
	}
	assert.Equal(t, map[any]any{"port_scan": f.Client4.String(), "syn_flood": nil}, found)
}

// leading is the number that a text such as "123 kB" begins with.
func leading(t *testing.T, text string) float64 {
	t.Helper()
	number, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.ParseFloat(number, 64)
	require.NoError(t, err)
	return n
}
