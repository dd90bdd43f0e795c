// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

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
