// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// Sockets are covered in namespaces that nobody named, too.
func TestSockChurnOfNamespaces(t *testing.T) {
	const number = 50
	enterNetNS(t)
	folder := t.TempDir()
	k := startProbe(t, testConfig())
	for i := range number {
		c := wire.NewContainer(t, filepath.Join(folder, fmt.Sprint(i)))
		k.netns, k.opened, k.closed = c.Inode, nil, nil
		c.In(func() {
			setLoopback(t, true)
			listener := wire.Echo(t, "127.0.0.1:8080")
			wire.Talk(t, "127.0.0.1:8080")
			require.NoError(t, listener.Close())
		})
		k.until("close", func() bool { return len(k.closed) == 1 })
		assert.Len(t, k.opened, 1)
		assert.Equal(t, connection.CloseClientFIN, k.closed[0].Reason)
		c.Remove()
	}
	_, live := k.snapshot(8080)
	assert.Empty(t, live)
	// A listener ends when the last call of accept(2) has left it.
	k.until("the end of all listeners", func() bool { return len(k.probe.sockets.Listeners.Ports.Namespaces()) == 0 })
	assert.Empty(t, k.lost)
}
