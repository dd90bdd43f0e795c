// SPDX-License-Identifier: Apache-2.0

//go:build privileged && soak

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

const (
	// soakVariable says how long the load lasts, such as 10m; the Makefile sets it.
	soakVariable = "EBPF_TCP_SOAK"

	soakPort = 28200
	// soakListeners is the first of the ports that come and go, up to 500 more.
	soakListeners = 30000
	// soakRate are connections a second, as far as the host can.
	soakRate = "600"
	// soakSources are spoofed, each sends one SYN.
	soakSources = 1_000_000
	// soakRefusal is how long the consumer refuses at most. It is less than the
	// receiver's max_elapsed_time, so that nothing is lost to that.
	soakRefusal = 15 * time.Second
	// soakProgress is the time between two lines of progress.
	soakProgress = 10 * time.Second
)

// soak is one run: a collector under all loads at once, watched from outside.
type soak struct {
	t        *testing.T
	duration time.Duration
	begin    time.Time
	network  *network
	out      *countingSink
	agent    *collector
	// pprof is the port of the collector's profiles.
	pprof  int
	series []sampled
	// seen is what the kernel held for the collector in this life.
	seen    map[lab.Object]bool
	slowest time.Duration
}

// TestSoak runs the collector for a while under everything that makes state come and
// go, and checks that none of it stays: memory, descriptors, threads and goroutines
// are flat, the ledger balances in every life, and the kernel holds nothing afterwards.
func TestSoak(t *testing.T) {
	needing(t, "live", "packet", "network_namespaces")
	duration, err := time.ParseDuration(os.Getenv(soakVariable))
	require.NoError(t, err, "%s must be a duration: run make soak", soakVariable)
	require.GreaterOrEqual(t, duration, 30*time.Second, "too short to tell anything")
	s := &soak{
		t: t, duration: duration, pprof: freePort(t),
		network: newNetwork(t), out: startCountingSink(t), seen: map[lab.Object]bool{},
	}
	n := s.network
	n.server.startNginx(t, nginxPorts{
		soakPort, soakPort + 1, soakPort + 2, soakPort + 3, soakPort + 4, soakPort + 5,
	})
	// Whoever answers a spoofed client sends it to the other end, which forwards nothing.
	require.NoError(t, n.RouteToClient(lab.FloodSources()))
	s.agent = startCollector(t, n.server, "agent", s.configuration("auto"))

	load := s.startLoad()
	s.watch()
	s.stopLoad(load)
	s.settle()
	s.agent.stop()
	s.finish()
}

// configuration asks for every event, and for a short life of series, so that their
// end is in the run.
func (s *soak) configuration(mode string) string {
	return fmt.Sprintf(`
receivers:
  ebpf_tcp:
    collection_interval: 1s
    metric_expiration: 5s
    tc: {mode: %s}
    interfaces: {network_namespaces: [/run/netns/%s*]}
    connections: {half_open: true, handshake_timeout: 2s}
    packets: {sample_rate: 100, max_per_second: 200}
    clients: {exclude: [127.0.0.1]}
    events: {tcp.server.connection.open: {enabled: true}}
%sexporters:
  otlp_grpc:
    endpoint: %s
    tls: {insecure: true}
    compression: none
    sending_queue: {enabled: false}
    retry_on_failure: {enabled: false}
extensions:
  pprof: {endpoint: 127.0.0.1:%d}
service:
  extensions: [pprof]
  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [otlp_grpc]}
    metrics: {receivers: [ebpf_tcp], exporters: [otlp_grpc]}
`, mode, s.namespaces(), excludedHooks(), s.out.endpoint, s.pprof)
}

// namespaces is how the names of those that come and go begin.
func (s *soak) namespaces() string { return fmt.Sprintf("ebpftcp-soak%d-", os.Getpid()) }

// load is all that goes on around the collector.
type load struct {
	cancel context.CancelFunc
	group  sync.WaitGroup
	actors map[string]*actor
}

func (s *soak) startLoad() *load {
	n := s.network
	ctx, cancel := context.WithCancel(s.t.Context())
	l := &load{cancel: cancel}
	s.t.Cleanup(func() {
		cancel()
		l.group.Wait()
	})
	churn := []string{soakRate}
	// In the order of nginxPorts.
	for i, address := range []netip.Addr{n.Server4, n.Server6, n.Server4, n.Server6, n.Server6, n.Server4} {
		churn = append(churn, netip.AddrPortFrom(address, uint16(soakPort+i)).String())
	}
	every := max(s.duration/8, 10*time.Second).String()
	l.actors = map[string]*actor{
		"churn": n.client.act(s.t, "churn", churn...),
		"flood": n.client.act(s.t, "flood", n.At(soakPort+5).String(), "sources",
			"0", strconv.Itoa(soakSources), (s.duration * 8 / 10).String()),
		"scan":      n.client.act(s.t, "scan", n.Server4.String(), every),
		"listeners": n.server.act(s.t, "listeners", n.Server4.String(), strconv.Itoa(soakListeners)),
	}
	for _, a := range l.actors {
		a.ready(s.t)
	}
	server := n.Server
	s.repeat(ctx, l, 500*time.Millisecond, func(i int) []string {
		name := fmt.Sprintf("soak%d", i)
		return []string{
			fmt.Sprintf("-n %s link add %s type veth peer name %sp", server, name, name),
			fmt.Sprintf("-n %s link set %s up", server, name),
			fmt.Sprintf("-n %s link set %sp up", server, name),
			fmt.Sprintf("-n %s link del %s", server, name),
		}
	})
	s.repeat(ctx, l, time.Second, func(i int) []string {
		name := s.namespaces() + strconv.Itoa(i)
		return []string{
			"netns add " + name,
			fmt.Sprintf("-n %s link add eth0 type veth peer name eth1", name),
			fmt.Sprintf("-n %s link set eth0 up", name),
			fmt.Sprintf("-n %s link set eth1 up", name),
			"netns del " + name,
		}
	})
	return l
}

// repeat runs ip(8) with one line after the other, waits before the last one, which
// takes away what the others made, and starts over.
func (s *soak) repeat(ctx context.Context, l *load, wait time.Duration, lines func(i int) []string) {
	ip := func(line string) {
		said, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
		assert.NoError(s.t, err, "ip %s: %s", line, said)
	}
	l.group.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			all := lines(i)
			for _, line := range all[:len(all)-1] {
				ip(line)
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			ip(all[len(all)-1])
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	})
}

// plan is what happens at a time of the run.
type plan struct {
	at time.Duration
	do func()
}

// plan reloads every so often, each second time while the consumer refuses, and lets
// it refuse for a while between two reloads.
func (s *soak) plan() []plan {
	period := min(max(s.duration/5, 10*time.Second), 10*time.Minute)
	refusal := min(period*15/100, soakRefusal)
	refuse := func(refuses bool) func() { return func() { s.out.refuse(refuses) } }
	var plans []plan
	for k := 0; ; k++ {
		begin := time.Duration(k) * period
		reload := begin + period
		plans = append(plans, plan{begin + period*4/10, refuse(true)}, plan{begin + period*4/10 + refusal, refuse(false)})
		// The last life has its share of the load.
		if reload+period >= s.duration {
			return plans
		}
		// Both ways of attaching have their turn, where the kernel has both.
		mode := []string{"clsact", "auto"}[k%2]
		plans = append(plans, plan{reload, func() {
			s.out.refuse(k%2 == 1)
			s.reload(mode)
			s.out.refuse(false)
		}})
	}
}

// watch samples until the time is over, and carries out the plan meanwhile.
func (s *soak) watch() {
	ticker := time.NewTicker(max(time.Second, s.duration/1000))
	defer ticker.Stop()
	s.begin = time.Now()
	plans, progress := s.plan(), soakProgress
	for {
		elapsed := time.Since(s.begin)
		if elapsed >= s.duration {
			return
		}
		for len(plans) > 0 && plans[0].at <= elapsed {
			plans[0].do()
			plans = plans[1:]
		}
		s.sample()
		if elapsed >= progress {
			s.tell()
			progress = (elapsed/soakProgress + 1) * soakProgress
		}
		<-ticker.C
	}
}

// reload changes the way of attaching. Whatever the last life had in the kernel must
// be gone when the next one has begun.
func (s *soak) reload(mode string) {
	s.sample()
	require.NoError(s.t, s.agent.Configure(s.configuration(mode)))
	begin := time.Now()
	took := s.agent.reload()
	s.slowest = max(s.slowest, took)
	again := time.Since(begin)
	s.checkKernel()
	s.seen = map[lab.Object]bool{}
	fmt.Printf("soak  reloaded with tc %s: ended after %.1fs, began again after %.1fs, nothing left of it after %.1fs\n",
		mode, took.Seconds(), again.Seconds(), time.Since(begin).Seconds())
}

// checkKernel waits until the kernel holds nothing of what it held for the collector
// before.
func (s *soak) checkKernel() {
	s.t.Helper()
	require.NotEmpty(s.t, s.seen)
	checkGone(s.t, map[lab.Object]bool{}, s.seen)
}

// stopLoad ends the load and tells what it did. The flood is let finish.
func (s *soak) stopLoad(l *load) {
	l.cancel()
	l.group.Wait()
	done := map[string]lab.Work{}
	for _, name := range []string{"churn", "scan", "listeners", "flood"} {
		done[name] = l.actors[name].work(s.t, name == "flood")
		fmt.Printf("soak  %-9s %9d done, %d failed\n", name, done[name].Done, done[name].Failed)
		assert.Less(s.t, done[name].Failed, 1+done[name].Done/10, "failures of the %s", name)
	}
	assert.GreaterOrEqual(s.t, done["flood"].Done, int64(soakSources), "SYNs of the flood")
	assert.GreaterOrEqual(s.t, done["scan"].Done, int64(65535), "SYNs of the scan")
	assert.Greater(s.t, s.out.taken()["connection"], done["churn"].Done/2, "connections that arrived, of those made")
}

// settle waits until the ledger balances and the sink has all that it counts as delivered.
func (s *soak) settle() {
	before := s.agent.lastLedgers()
	b := s.agent.balance(func(b lab.Ledger) bool {
		for event, taken := range s.out.taken() {
			delivered := b[event].Delivered
			for _, life := range before {
				delivered += life[event].Delivered
			}
			if float64(taken) != delivered || b[event].Queued != 0 {
				return false
			}
		}
		return true
	})
	fmt.Printf("soak  ledger of the last life, at rest:\n")
	for event := range eventNames {
		fmt.Printf("soak  %-11s %+v\n", event, b[event])
	}
	for where, n := range losses(b) {
		fmt.Printf("soak  lost %.0f %s\n", n, strings.Join(where[:], " "))
	}
}

// finish checks what is left when the collector has ended, and the samples.
func (s *soak) finish() {
	s.agent.checkLastLedger()
	lives := s.agent.lastLedgers()
	checkTaken(s.t, s.out, lives)
	s.checkKernel()
	assert.NotContains(s.t, s.network.server.run(s.t, "tc", "qdisc", "show"), "clsact")
	most, ports := s.out.series()
	own := map[int64]bool{int64(s.pprof): true, int64(s.agent.Telemetry): true}
	for port := range ports {
		churned := port >= soakPort && port <= soakPort+5
		listened := port >= soakListeners && port < soakListeners+500
		assert.True(s.t, churned || listened || own[port], "nobody listens on port %d, but it has series", port)
	}
	for metric, n := range most {
		assert.LessOrEqual(s.t, n, 2001, "series of %s", metric)
	}
	fmt.Printf("soak  %d lives, the slowest end took %s; the consumer refused %d times\n",
		len(lives), s.slowest.Round(time.Millisecond), s.out.refusals)
	s.judge()
}

// work ends an actor, or waits for its end, and returns what it did.
func (a *actor) work(t *testing.T, finishes bool) (w lab.Work) {
	t.Helper()
	if !finishes {
		require.NoError(t, a.Input.Close())
	}
	require.NoError(t, a.Result(&w))
	a.End()
	return w
}
