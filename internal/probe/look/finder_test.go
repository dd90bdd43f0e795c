// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package look

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
)

// A namespace that no file leads to is sought again after a while, for a process may have
// entered it.
func TestFinderSeeksAgain(t *testing.T) {
	own, err := netns.Current()
	require.NoError(t, err)
	folder := t.TempDir()
	f := newNetNSFinder(nil)
	f.patterns = []string{filepath.Join(folder, "*")}
	wanted := map[uint32]bool{own: true}
	begun := time.Now()

	f.find(wanted, begun)
	_, err = f.open(own)
	require.ErrorIs(t, err, errNetNSNotFound)

	require.NoError(t, os.Symlink("/proc/self/ns/net", filepath.Join(folder, "own")))
	f.find(wanted, begun.Add(seekAgain-time.Second))
	_, err = f.open(own)
	require.ErrorIs(t, err, errNetNSNotFound, "not at every pass")

	f.find(wanted, begun.Add(seekAgain))
	namespace, err := f.open(own)
	require.NoError(t, err)
	assert.Equal(t, own, namespace.Inode)
	namespace.Close()

	// A path that leads elsewhere is replaced at once.
	require.NoError(t, os.Rename(filepath.Join(folder, "own"), filepath.Join(folder, "moved")))
	f.find(wanted, begun.Add(seekAgain+time.Second))
	namespace, err = f.open(own)
	require.NoError(t, err)
	namespace.Close()

	f.find(nil, begun)
	assert.Empty(t, f.ways)
}
