// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"math"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
)

func prefixes(texts ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, text := range texts {
		p = append(p, netip.MustParsePrefix(text))
	}
	return p
}

func loadConfig(t *testing.T, file, name string) (*Config, error) {
	t.Helper()
	all, err := confmaptest.LoadConf(filepath.Join("testdata", file))
	require.NoError(t, err)
	sub, err := all.Sub(name)
	require.NoError(t, err)
	cfg := createDefaultConfig()
	return cfg, sub.Unmarshal(cfg)
}

func TestConfigCases(t *testing.T) {
	cases := map[string]probe.Config{
		"ebpf_tcp": {
			Scope: probe.ScopeAll,
			Filter: probe.Filter{
				IncludePorts:   []probe.PortRange{},
				ExcludePorts:   []probe.PortRange{},
				IncludeClients: []netip.Prefix{},
				ExcludeClients: []netip.Prefix{},
			},
			Sockets:     probe.Sockets{Handshakes: true, Accepts: true, Overflows: true, Drops: true, Retransmits: true},
			Failures:    probe.Failures{HandshakeTimeout: 10 * time.Second, FailedRecords: true, FailedPerSecond: 1000},
			Attribution: probe.Attribution{Process: true},
			Packets: probe.Packets{
				IncludeInterfaces: []string{"*"},
				ExcludeInterfaces: []string{"lo"},
				TCMode:            probe.TCAuto,
				TCFirst:           true,
				PacketClasses:     []packet.Class{},
				PacketsPerSecond:  100,
			},
			Limits: probe.Limits{MaxNetworkNamespaces: 128, MaxListeners: 16384, MaxHalfOpen: 16384, MaxPortCounters: 8192},
		},
		"ebpf_tcp/all": {
			Scope: probe.ScopeInitialUserNS,
			Filter: probe.Filter{
				IncludePorts:   []probe.PortRange{{First: 80, Last: 80}, {First: 8000, Last: 8100}, {First: 443, Last: 443}},
				ExcludePorts:   []probe.PortRange{{First: 8050, Last: 8050}},
				IncludeClients: prefixes("10.0.0.0/8", "2001:db8::/32"),
				ExcludeClients: prefixes("10.0.0.1/32", "10.9.0.0/16", "2001:db8::1/128"),
			},
			Sockets:     probe.Sockets{Handshakes: true, Accepts: true, Overflows: true, OpenRecords: true, Drops: true, Retransmits: true},
			Failures:    probe.Failures{HalfOpen: true, HandshakeTimeout: 3 * time.Second, FailedRecords: true, FailedPerSecond: 1},
			Attribution: probe.Attribution{Process: true, AcceptTracepoint: true},
			Packets: probe.Packets{
				IncludeInterfaces: []string{"eth0", "veth*"},
				ExcludeInterfaces: []string{"veth[0-9]"},
				TCMode:            probe.TCClsact,
				PacketSampleRate:  1000,
				PacketClasses:     []packet.Class{packet.SYN, packet.Abnormal},
				PacketsPerSecond:  5,
			},
			Limits: probe.Limits{
				MaxNetworkNamespaces: 7,
				MaxConnections:       64,
				RingBytes:            4096,
				MaxListeners:         128,
				MaxHalfOpen:          256,
				MaxPortCounters:      512,
			},
			ExcludeHooks: []string{"iter/bpf_map_elem", "fentry/*"},
		},
		"ebpf_tcp/no_attribution": {
			Scope: probe.ScopeAll,
			Filter: probe.Filter{
				IncludePorts:   []probe.PortRange{},
				ExcludePorts:   []probe.PortRange{},
				IncludeClients: []netip.Prefix{},
				ExcludeClients: []netip.Prefix{},
			},
			Sockets:  probe.Sockets{Handshakes: true, Accepts: true, Overflows: true, Drops: true, Retransmits: true},
			Failures: probe.Failures{HandshakeTimeout: 10 * time.Second, FailedRecords: true, FailedPerSecond: 1000},
			Packets: probe.Packets{
				IncludeInterfaces: []string{"*"},
				ExcludeInterfaces: []string{"lo"},
				TCMode:            probe.TCAuto,
				TCFirst:           true,
				PacketClasses:     []packet.Class{},
				PacketsPerSecond:  100,
			},
			Limits: probe.Limits{MaxNetworkNamespaces: 128, MaxListeners: 16384, MaxHalfOpen: 16384, MaxPortCounters: 8192},
		},
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			cfg, err := loadConfig(t, "config.yaml", name)
			require.NoError(t, err)
			require.NoError(t, confmap.Validate(cfg))
			var f check.Faults
			assert.Equal(t, want, cfg.probeConfig(&f))
			assert.Empty(t, f)
		})
	}
}

// TestBodiesCrossWhereAsked: bodies cross only on their ports, and only if there are records.
func TestBodiesCrossWhereAsked(t *testing.T) {
	cfg := createDefaultConfig()
	cfg.Inspect.HTTP.Ports = []any{80, 81}
	bodiesOf := func(c *Config, change func(*probe.Config)) []int {
		var f check.Faults
		p := c.probeConfig(&f)
		change(&p)
		require.Empty(t, f)
		var sizes []int
		for _, port := range []uint16{80, 81} {
			b, found := p.Inspect.BodiesOf(port)
			require.True(t, found)
			sizes = append(sizes, b.Request, b.Answer)
		}
		return sizes
	}
	asIs := func(*probe.Config) {}
	assert.Equal(t, []int{0, 0, 0, 0}, bodiesOf(cfg, asIs), "off by default")
	cfg.Inspect.HTTP.Bodies.RequestBytes, cfg.Inspect.HTTP.Bodies.ResponseBytes = 10, 20
	assert.Equal(t, []int{10, 20, 10, 20}, bodiesOf(cfg, asIs))
	cfg.Inspect.HTTP.Bodies.Ports = []any{81}
	assert.Equal(t, []int{0, 0, 10, 20}, bodiesOf(cfg, asIs))
	assert.Equal(t, []int{0, 0, 0, 0}, bodiesOf(cfg, withoutLogs))
	cfg.Events.TCPServerHTTPRequest.Enabled = false
	assert.Equal(t, []int{0, 0, 0, 0}, bodiesOf(cfg, asIs))
	cfg.Inspect.HTTP.Gateways.OpenAI.Ports = []any{80}
	assert.Equal(t, []int{64 << 10, 16 << 10, 0, 0}, bodiesOf(cfg, withoutLogs), "metrics need calls to language models")
}

func TestUnwantedRecordsAreNotAskedFor(t *testing.T) {
	cfg := createDefaultConfig()
	cfg.Packets.SampleRate, cfg.Packets.Flags = 10, []string{"rst"}
	cfg.Events.TCPServerConnectionOpen.Enabled = true
	var f check.Faults
	selecting := cfg.probeConfig(&f)
	assert.EqualValues(t, 10, selecting.PacketSampleRate)

	withoutLogs(&selecting)
	assert.Zero(t, selecting.PacketSampleRate)
	assert.Empty(t, selecting.PacketClasses)
	assert.False(t, selecting.OpenRecords || selecting.FailedRecords)
	assert.True(t, selecting.Drops && selecting.Retransmits)
	withoutMetrics(&selecting)
	assert.False(t, selecting.Drops || selecting.Retransmits)

	cfg.Events.TCPServerPacket.Enabled = false
	cfg.Events.TCPServerConnectionFailed.Enabled = false
	cfg.Metrics.TCPServerDrops.Enabled = false
	cfg.Metrics.TCPServerRetransmits.Enabled = false
	disabled := cfg.probeConfig(&f)
	assert.Zero(t, disabled.PacketSampleRate)
	assert.Empty(t, disabled.PacketClasses)
	assert.False(t, disabled.FailedRecords || disabled.Drops || disabled.Retransmits)
	assert.Empty(t, f)
}

func TestConfigReachesBuilders(t *testing.T) {
	cfg, err := loadConfig(t, "config.yaml", "ebpf_tcp/all")
	require.NoError(t, err)
	assert.True(t, cfg.logsConfig().Events.TCPServerConnectionOpen.Enabled)
	assert.False(t, cfg.metricsConfig().Metrics.TCPServerRtt.Enabled)
	assert.False(t, cfg.metricsConfig().ResourceAttributes.HostName.Enabled)
	assert.False(t, cfg.logsConfig().ResourceAttributes.HostName.Enabled)
}

func TestUnknownKeysAreRefused(t *testing.T) {
	for name, key := range map[string]string{
		"ebpf_tcp/top":    "collection_intervall",
		"ebpf_tcp/nested": "conections",
		"ebpf_tcp/event":  "tcp.server.connection.opened",
		"ebpf_tcp/metric": "tcp.server.rttt",
		"ebpf_tcp/case":   "Ports",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadConfig(t, "unknown_keys.yaml", name)
			require.ErrorContains(t, err, "invalid keys: "+key)
		})
	}
}

func TestInvalid(t *testing.T) {
	ports := func(items ...any) func(*Config) { return func(c *Config) { c.Ports.Include = items } }
	clients := func(items ...string) func(*Config) { return func(c *Config) { c.Clients.Exclude = items } }
	interfaces := func(items ...string) func(*Config) { return func(c *Config) { c.Interfaces.Include = items } }
	namespaces := func(items ...string) func(*Config) {
		return func(c *Config) { c.Interfaces.NetworkNamespaces = items }
	}
	withoutTC := func(change func(*Config)) func(*Config) {
		return func(c *Config) {
			c.TC.Mode = "off"
			change(c)
		}
	}
	cases := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"port half a range", ports(1, "80-"), `ports::include[1]: "80-": a port is missing`},
		{"port no number", ports("http"), `ports::include[0]: "http": "http" is not a number`},
		{"port zero", ports(0), `ports::include[0]: "0": ports are 1 to 65535`},
		{"port negative", ports(-80), `ports::include[0]: "-80": ports are 1 to 65535`},
		{"port too big", ports(65536), `ports::include[0]: "65536": ports are 1 to 65535`},
		{"port far too big", ports("99999999999999999999"), `ports::include[0]: "99999999999999999999": ports are 1 to 65535`},
		{"port range backwards", ports("90-80"), `ports::include[0]: "90-80": the range ends before it begins`},
		{"port of another type", ports(1.5), `ports::include[0]: 1.5 is neither a port nor a range such as "8000-8100"`},
		{"port empty", ports(""), `ports::include[0]: "": a port is missing`},
		{"client no address", clients("10.0.0.1", "host"), `clients::exclude[1]: "host": neither an IP address without zone nor a CIDR`},
		{"client zone", clients("fe80::1%eth0"), `clients::exclude[0]: "fe80::1%eth0": neither an IP address without zone nor a CIDR`},
		{"client length", clients("10.0.0.0/33"), `clients::exclude[0]: "10.0.0.0/33": not a CIDR such as 10.0.0.0/8 or 2001:db8::/32`},
		{"client bits", clients("10.1.2.3/8"), `clients::exclude[0]: "10.1.2.3/8": has bits set beyond its length; did you mean 10.0.0.0/8?`},
		{"clients too many", clients(make([]string, 4097)...), `clients::exclude: 4097 entries are too many, allowed are 4096`},
		{"interfaces none", interfaces(), `interfaces::include: selects no interface; tc::mode: off does without packets`},
		{"interface empty", interfaces(""), `interfaces::include[0]: "": an interface name is missing`},
		{"interface long", interfaces("eth0", "a-name-too-long0"), `interfaces::include[1]: "a-name-too-long0": interface names have at most 15 bytes`},
		{"interface slash", interfaces("a/b"), `interfaces::include[0]: "a/b": interface names hold neither slash nor space`},
		{"interface pattern", interfaces("eth["), `interfaces::include[0]: "eth[": syntax error in pattern`},
		{"namespace no path", namespaces("/run/netns/*", "web"), `interfaces::network_namespaces[1]: "web": not an absolute path such as /run/netns/*`},
		{"namespace empty", namespaces(""), `interfaces::network_namespaces[0]: "": not an absolute path such as /run/netns/*`},
		{"namespace folder", namespaces("/run/netns/"), `interfaces::network_namespaces[0]: "/run/netns/": not the shortest form of the path, which is /run/netns`},
		{"namespace pattern", namespaces("/run/netns/[a-"), `interfaces::network_namespaces[0]: "/run/netns/[a-": syntax error in pattern`},
		{"namespaces without packets", withoutTC(namespaces("/run/netns/*")), `interfaces::network_namespaces: needs to see packets, but tc::mode is "off"`},
		{"scope", func(c *Config) { c.Connections.Scope = "mine" }, `connections::scope: "mine" is unknown, allowed are ["all" "host" "initial_user_namespace"]`},
		{"namespaces out of scope", func(c *Config) {
			c.Connections.Scope, c.Interfaces.NetworkNamespaces = "host", []string{"/run/netns/*"}
		}, `interfaces::network_namespaces: names other network namespaces, but connections::scope is "host"`},
		{"tc mode", func(c *Config) { c.TC.Mode = "xdp" }, `tc::mode: "xdp" is unknown, allowed are ["auto" "tcx" "clsact" "off"]`},
		{"tc position", func(c *Config) { c.TC.Position = "" }, `tc::position: "" is unknown, allowed are ["first" "last"]`},
		{"flags", func(c *Config) { c.Packets.Flags = []string{"syn", "SYN"} }, `packets::flags[1]: "SYN" is unknown, allowed are ["syn" "syn_ack" "rst" "fin" "data" "ack" "abnormal"]`},
		{"on_missing", func(c *Config) { c.OnMissing = "ignore" }, `on_missing: "ignore" is unknown, allowed are ["report" "fail"]`},
		{"histograms", func(c *Config) { c.Histograms = "both" }, `histograms: "both" is unknown, allowed are ["explicit" "exponential"]`},
		{"interval", func(c *Config) { c.CollectionInterval = -time.Second }, `collection_interval: -1s is out of range, allowed are 100ms to 24h0m0s`},
		{"expiration", func(c *Config) { c.MetricExpiration = 9 * time.Second }, `metric_expiration: 9s is shorter than collection_interval (10s)`},
		{"handshake", func(c *Config) { c.Connections.HandshakeTimeout = 0 }, `connections::handshake_timeout: 0s is out of range, allowed are 100ms to 1h0m0s`},
		{"batch age", func(c *Config) { c.Batch.MaxAge = 0 }, `batch::max_age: 0s is out of range, allowed are 1ms to 1m0s`},
		{"ring odd", func(c *Config) { c.Limits.RingBytes = 12288 }, `limits::ring_bytes: 12288 is not a power of two`},
		{"connections", func(c *Config) { c.Limits.Connections = -1 }, `limits::connections: -1 is out of range, allowed are 0 to 16777216`},
		{"namespaces", func(c *Config) { c.Limits.NetworkNamespaces = 0 }, `limits::network_namespaces: 0 is out of range, allowed are 1 to 4096`},
		{"half-open without packets", withoutTC(func(c *Config) { c.Connections.HalfOpen = true }), `connections::half_open: needs to see packets, but tc::mode is "off"`},
		{"sampling without packets", withoutTC(func(c *Config) { c.Packets.SampleRate = 10 }), `packets::sample_rate: needs to see packets, but tc::mode is "off"`},
		{"flags without packets", withoutTC(func(c *Config) { c.Packets.Flags = []string{"syn"} }), `packets::flags: needs to see packets, but tc::mode is "off"`},
		{"no such hook", func(c *Config) { c.Hooks.Exclude = []string{"fentry/*", "iter/bpf_map"} }, `hooks::exclude[1]: "iter/bpf_map": matches no hook; ebpf-tcp-doctor prints the names of all, such as iter/bpf_map_elem`},
		{"hook pattern", func(c *Config) { c.Hooks.Exclude = []string{"tcx/["} }, `hooks::exclude[0]: "tcx/[": syntax error in pattern`},
		{"no hook", func(c *Config) { c.Hooks.Exclude = []string{""} }, `hooks::exclude[0]: "": matches no hook; ebpf-tcp-doctor prints the names of all, such as iter/bpf_map_elem`},
		{"retry at once", func(c *Config) { c.Retry.InitialInterval = 0 }, `retry_on_failure::initial_interval: 0s is out of range, allowed are 1ms to 1h0m0s`},
		{"retry late", func(c *Config) { c.Retry.MaxInterval, c.Retry.MaxElapsedTime = 2*time.Hour, 0 }, `retry_on_failure::max_interval: 2h0m0s is out of range, allowed are 1ms to 1h0m0s`},
		{"retry sooner and sooner", func(c *Config) { c.Retry.Multiplier = 0.5 }, `retry_on_failure::multiplier: 0.5 is out of range, allowed are 1 to 10`},
		{"retry no number", func(c *Config) { c.Retry.Multiplier = math.NaN() }, `retry_on_failure::multiplier: NaN is out of range, allowed are 1 to 10`},
		{"retry at random", func(c *Config) { c.Retry.RandomizationFactor = 1.5 }, `retry_on_failure::randomization_factor: 1.5 is out of range, allowed are 0 to 1`},
		{"retry backwards", func(c *Config) { c.Retry.MaxElapsedTime = -time.Second }, `retry_on_failure::max_elapsed_time: -1s is out of range, allowed are 0s to 24h0m0s`},
		{"retry", func(c *Config) { c.Retry.MaxElapsedTime = time.Second }, `retry_on_failure: 'max_elapsed_time' must not be less than 'max_interval'`},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			cfg := createDefaultConfig()
			tt.change(cfg)
			err := confmap.Validate(cfg)
			require.Error(t, err)
			assert.Contains(t, strings.Split(err.Error(), "\n"), tt.want)
		})
	}
}

func TestValid(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no interface without packets": func(c *Config) { c.TC.Mode, c.Interfaces.Include = "off", nil },
		"no retry":                     func(c *Config) { c.Retry = configretry.BackOffConfig{} },
		"retry for ever":               func(c *Config) { c.Retry.MaxElapsedTime = 0 },
		"namespaces": func(c *Config) {
			c.Interfaces.NetworkNamespaces = []string{"/run/netns/*", "/var/run/docker/netns/[0-9a-f]*", "/run/netns/web"}
		},
		"half-open": func(c *Config) { c.TC.Mode, c.Connections.HalfOpen = "clsact", true },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := createDefaultConfig()
			change(cfg)
			assert.NoError(t, confmap.Validate(cfg))
		})
	}
}

func TestValidateReportsAllFaults(t *testing.T) {
	cfg := createDefaultConfig()
	cfg.Ports.Include = []any{"x", 80, "y"}
	cfg.Clients.Include = []string{"z"}
	cfg.TC.Mode = "none"
	cfg.Limits.Series = 0
	cfg.Queue.MaxBytes = -1
	err := cfg.Validate()
	require.Error(t, err)
	var paths []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		path, _, _ := strings.Cut(line, ": ")
		paths = append(paths, path)
	}
	assert.ElementsMatch(t, []string{
		"ports::include[0]", "ports::include[2]", "clients::include[0]", "tc::mode", "limits::series", "queue::max_bytes",
	}, paths)
}
