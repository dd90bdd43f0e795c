// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package probe

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

// diagnoseHost returns the diagnosis of this host, with every way that a configuration can
// allow. It runs once for all tests.
var diagnoseHost = sync.OnceValues(func() (d *Diagnosis, err error) {
	err = testbed.InNewNetNS(func() (err error) {
		d, err = Diagnose(testConfig(func(c *Config) { c.TCMode, c.IncludeInterfaces = TCAuto, []string{"lo"} }))
		return err
	})
	return d, err
})

func thisHost(t testing.TB) *Diagnosis {
	t.Helper()
	d, err := diagnoseHost()
	require.NoError(t, err, "diagnose this host")
	return d
}

// needing ends the test as not possible here if the host lacks one of the features. Their form
// is that of Diagnosis.Lacks.
func needing(t testing.TB, features ...string) {
	t.Helper()
	testbed.Need(t, thisHost(t), features...)
}

// core is what every probe needs. Without it there are no connections.
func core() []string {
	return []string{hook.FeatureConnection, hook.FeatureMissedEnd}
}

// needingMode is needing for one way of attaching to interfaces.
func needingMode(t testing.TB, m TCMode) {
	t.Helper()
	needing(t, packetBy(m))
}

func packetBy(m TCMode) string { return hook.FeaturePacket + " by " + string(m) + "/*" }

// needsOf returns the features that a configuration asks for.
func needsOf(cfg *Config) []string {
	needs := append(core(), packetNeedsOf(cfg)...)
	if cfg.Drops {
		needs = append(needs, "drop")
	}
	return needs
}

func packetNeedsOf(cfg *Config) []string {
	var needs []string
	switch cfg.TCMode {
	case TCOff:
	case TCAuto:
		needs = append(needs, hook.FeaturePacket)
	default:
		needs = append(needs, packetBy(cfg.TCMode))
	}
	if len(cfg.NetworkNamespaces) > 0 {
		needs = append(needs, hook.FeatureNetworkNamespaces)
	}
	return needs
}

// refusedByReset is a refusal that the tracepoint of resets reports, without packets.
const refusedByReset = hook.FeatureRefused + " by raw_tp/tcp_send_reset"
