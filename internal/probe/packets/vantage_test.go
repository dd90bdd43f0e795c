// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// inNamespaces observes packets in the namespaces of a folder.
func inNamespaces(m settings.TCMode, folder string) func(*settings.Config) {
	return func(c *settings.Config) {
		c.TCMode = m
		c.IncludeInterfaces = []string{"*"}
		c.NetworkNamespaces, c.MaxNetworkNamespaces = []string{filepath.Join(folder, "*")}, 64
	}
}

func TestTCNamespacesVanishWithoutAWarning(t *testing.T) {
	wire.Enter(t)
	cfg := config(inNamespaces(settings.TCAuto, t.TempDir()))
	core, logs := observer.New(zapcore.InfoLevel)
	options, _ := optionsFor(t, &cfg, testNetNS)
	options.Logger = zap.New(core)
	m := New(options)
	defer func() { require.NoError(t, m.Close()) }()
	enter := func(prepare func(*wire.Container)) {
		c := wire.NewContainer(t, filepath.Join(t.TempDir(), "flash"))
		prepare(c)
		m.enter(&other{inode: c.Inode, path: c.Path})
	}

	enter((*wire.Container).Remove)
	enter(func(c *wire.Container) {
		c.Remove()
		wire.NewContainer(t, c.Path) // another one has its place
	})
	assert.Empty(t, logs.All())
	assert.Empty(t, m.failed)
}

// Without CAP_SYS_ADMIN one line says what is lost. Our own namespace is observed all the
// same.
func TestTCNamespacesWithoutTheCapability(t *testing.T) {
	wire.Enter(t)
	wire.NewPeer(t).Veth(t, "own")
	folder := t.TempDir()
	wire.NewContainer(t, filepath.Join(folder, "other"))
	cfg := config(inNamespaces(settings.TCAuto, folder))
	core, logs := observer.New(zapcore.WarnLevel)
	options, _ := optionsFor(t, &cfg, testNetNS)
	options.Logger = zap.New(core)
	m := New(options)
	defer func() { require.NoError(t, m.Close()) }()

	setCapability(t, unix.CAP_SYS_ADMIN, false)
	err := m.Start()
	setCapability(t, unix.CAP_SYS_ADMIN, true)
	require.NoError(t, err)
	hooks := m.Hooks()
	require.Len(t, hooks, 3)
	for _, hook := range hooks[:2] {
		assert.True(t, hook.Attached, hook.Name)
		assert.NoError(t, hook.Err)
	}
	assert.False(t, hooks[2].Attached)
	require.ErrorContains(t, hooks[2].Err, "interfaces::network_namespaces: CAP_SYS_ADMIN is missing")
	assert.Zero(t, logs.Len(), "the receiver says what hooks lack: %v", logs.All())
}

// setCapability is about the test's thread alone.
func setCapability(t *testing.T, capability int, on bool) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	require.NoError(t, unix.Capget(&header, &data[0]))
	data[capability/32].Effective &^= 1 << (capability % 32)
	if on {
		data[capability/32].Effective |= 1 << (capability % 32)
	}
	require.NoError(t, unix.Capset(&header, &data[0]))
}
