// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// startObservedTCBench is startTCBench with what is logged from a level on.
func startObservedTCBench(t *testing.T, cfg Config, level zapcore.Level) (*tcBench, *observer.ObservedLogs) {
	t.Helper()
	b := newTCBench(t, cfg)
	require.NoError(t, b.close())
	core, logs := observer.New(level)
	b.tcVantage = newTCVantage(&cfg, b.options, zap.New(core))
	live := b.tcVantage
	t.Cleanup(func() { require.NoError(t, live.close()) })
	require.NoError(t, b.start())
	for _, hook := range b.hooks() {
		require.NoError(t, hook.Err)
	}
	b.listen(tcServerPort, true)
	return b, logs
}

// Interfaces of containers that live for a moment.
func TestTCInterfacesVanishWithoutAWarning(t *testing.T) {
	const pairs = 60
	tcModes(t, func(t *testing.T, m TCMode) {
		enterNetNS(t)
		b, logs := startObservedTCBench(t, tcConfig(mode(m)), zapcore.InfoLevel)
		vanish := func(name string) {
			require.NoError(t, netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name}}))
		}
		for i := range pairs {
			name := fmt.Sprintf("flash%d", i)
			require.NoError(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name}))
			vanish(name)
		}
		b.eventuallyAttachedTo("lo")

		// At the latest moment: between the look at the interfaces and the first step.
		b.changing.Lock()
		require.NoError(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "late"}, PeerName: "peer-late"}))
		late, err := netlink.LinkByName("late")
		require.NoError(t, err)
		vanish("late")
		b.add([]netlink.Link{late})
		assert.Empty(t, b.failures)
		b.changing.Unlock()

		b.eventuallyAttachedTo("lo")
		for _, hook := range b.hooks() {
			assert.NoError(t, hook.Err, hook.Name)
		}
		require.NoError(t, b.detach())
		assert.Empty(t, logs.All(), "what vanished is no failure")
		b.eventuallyAttachedTo()
	})
}

func TestTCNamespacesVanishWithoutAWarning(t *testing.T) {
	enterNetNS(t)
	cfg := tcConfig(inNamespaces(TCAuto, t.TempDir()))
	b := newTCBench(t, cfg)
	core, logs := observer.New(zapcore.InfoLevel)
	m := newTCNamespaces(&cfg, b.options, b.ports, zap.New(core))
	defer func() { require.NoError(t, m.close()) }()
	enter := func(prepare func(*container)) {
		c := newContainer(t, filepath.Join(t.TempDir(), "flash"))
		prepare(c)
		m.enter(&tcOther{inode: c.inode, path: c.path})
	}

	enter((*container).remove)
	enter(func(c *container) {
		c.remove()
		newContainer(t, c.path) // another one has its place
	})
	assert.Empty(t, logs.All())
	assert.Empty(t, m.failed)
}
