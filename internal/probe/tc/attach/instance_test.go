// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package attach

import (
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

func TestFilterNames(t *testing.T) {
	for name, want := range map[string]filterName{
		"ebpf_tcp-0000000f-observe-ingress":        {instance: 15, program: "observe", direction: Ingress},
		"ebpf_tcp-89abcdef-guard-egress":           {instance: 0x89abcdef, program: "guard", direction: Egress},
		"ebpf_tcp-89abcdef-observe2-ingress+qdisc": {instance: 0x89abcdef, program: "observe2", direction: Ingress, ourQdisc: true},
	} {
		got, ok := parseFilterName(name)
		assert.True(t, ok, name)
		assert.Equal(t, want, got)
		assert.Equal(t, name, got.String())
	}
	for _, name := range []string{
		"", "cil_from_netdev", "ebpf_tcp-", "ebpf_tcp-f-observe-ingress", "ebpf_tcp-0000000F-observe-ingress",
		"0000000f-observe-ingress", "ebpf_tcp-0000000f-observe", "ebpf_tcp-0000000f-observe-sideways",
		"ebpf_tcp-0000000f-observe-ingress+", "ebpf_tcp-0000000f--ingress", "ebpf_tcp-0000000f-ingress",
		"ebpf_tcp-0000000f-observe-ingress+qdisc+qdisc", "ebpf_tcp-10000000f-observe-ingress",
		"ebpf_tcp-0000000f-observe-ingress ", "ebpf_tcp-0000000f-a-b-ingress",
	} {
		_, ok := parseFilterName(name)
		assert.False(t, ok, name)
	}
}

func TestInstanceLives(t *testing.T) {
	wire.Enter(t)
	i, err := newInstance()
	require.NoError(t, err)
	_, dead := claimDead(i.id)
	assert.False(t, dead)

	assert.True(t, i.here())

	wire.NewPeer(t).In(func() {
		assert.False(t, i.here())
		release, dead := claimDead(i.id)
		assert.True(t, dead, "its name is not known in another network namespace")
		release()
	})
	// What it starts is not it.
	child := exec.Command("cat") // until its input ends
	in, err := child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	i.close()
	release, dead := claimDead(i.id)
	assert.True(t, dead)
	_, again := claimDead(i.id)
	assert.False(t, again, "one at a time removes what a dead one left")
	release()
	require.NoError(t, in.Close())
	require.NoError(t, child.Wait())
}

// A change waits once for who holds the lock, and for a while no other one waits.
func TestLockIsNotForEver(t *testing.T) {
	wire.Enter(t)
	late := false
	core, logs := observer.New(zap.WarnLevel)
	l := lock{warn: zap.New(core).Warn, late: func() bool { return late }}
	takes := func() time.Duration {
		begin := time.Now()
		l.take()
		l.take()
		l.release()
		return time.Since(begin)
	}
	l.take()
	_, err := bindAbstract(lockName)
	require.ErrorIs(t, err, unix.EADDRINUSE)
	l.release()
	squatter, err := bindAbstract(lockName)
	require.NoError(t, err)
	defer squatter.close()

	took := takes()
	assert.GreaterOrEqual(t, took, LockWait)
	assert.Less(t, took, 2*LockWait)
	assert.Less(t, takes(), LockWait/2)
	assert.Equal(t, 1, logs.Len())

	l.waitAgain = time.Time{}
	late = true
	assert.Less(t, takes(), LockWait/2, "to stop is not to wait")
}
