// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAsksAndAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	// A dead process left one.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	left.SetUnlinkOnClose(false)
	require.NoError(t, left.Close())

	server, err := Listen(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- server.Serve(ctx, func(q Question) Answer { return Answer{Lines: append(q.Arguments, q.Command)} })
	}()
	for range 2 {
		a, err := Ask(path, Question{Command: "list", Arguments: []string{"a"}})
		require.NoError(t, err)
		assert.Equal(t, Answer{Lines: []string{"a", "list"}}, a)
	}
	_, err = Listen(path)
	assert.ErrorContains(t, err, "another process does")
	junk, err := net.Dial("unix", path)
	require.NoError(t, err)
	_, err = junk.Write([]byte("junk\n"))
	require.NoError(t, err)
	require.NoError(t, junk.Close())
	cancel()
	require.NoError(t, <-done)
	assert.NoFileExists(t, path)
	_, err = Ask(path, Question{Command: "list"})
	assert.Error(t, err)
}
