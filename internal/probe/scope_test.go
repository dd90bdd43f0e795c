// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
)

// scopeFacts are the numbers of what is reported of one network namespace.
type scopeFacts struct{ Listeners, Opened, Adopted, Closed, Refused int }

// scopeWitness is a fact.Sink that counts what is reported of each network namespace.
type scopeWitness struct {
	fact.Nop
	seen map[uint32]scopeFacts
}

func (w scopeWitness) count(netns uint32, add func(*scopeFacts)) {
	facts := w.seen[netns]
	add(&facts)
	w.seen[netns] = facts
}

func (w scopeWitness) ListenerOpened(l *connection.Listener) {
	w.count(l.NetNS, func(f *scopeFacts) { f.Listeners++ })
}

func (w scopeWitness) ConnectionOpened(c *connection.Opened) {
	w.count(c.NetNS, func(f *scopeFacts) { f.Opened++ })
}

func (w scopeWitness) ConnectionFailed(c *connection.Failed) {
	w.count(c.NetNS, func(f *scopeFacts) { f.Refused++ })
}

func (w scopeWitness) ConnectionClosed(c *connection.Closed) {
	w.count(c.NetNS, func(f *scopeFacts) {
		f.Closed++
		if c.Adopted {
			f.Adopted++
		}
	})
}

// Ports of playScoped. One of its two listeners exists before the probe.
const scopeEarlyPort, scopeLatePort, scopeClosedPort = 7001, 7002, 7003

// playScoped does in its network namespace what a scope decides on. A part of it comes before
// the probe, the rest at the second order.
func playScoped(orders *json.Decoder, reports *json.Encoder) error {
	var order struct{}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	early, err := scopedConnection(scopeEarlyPort)
	if err != nil {
		return err
	}
	inode, err := netns.Current()
	if err != nil {
		return err
	}
	if err := errors.Join(reports.Encode(inode), orders.Decode(&order)); err != nil {
		return err
	}
	late, err := scopedConnection(scopeLatePort)
	if err != nil {
		return err
	}
	if err := errors.Join(early.end(), late.end()); err != nil {
		return err
	}
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", scopeClosedPort)); !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("dial a closed port: %w", err)
	}
	if err := reports.Encode(inode); err != nil {
		return err
	}
	// The namespace ends with the process.
	if err := orders.Decode(&order); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// scoped is a connection with both ends, and its listener.
type scoped struct{ listener, client, server io.Closer }

func scopedConnection(port int) (s scoped, err error) {
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return s, err
	}
	client, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		return s, err
	}
	server, err := listener.Accept()
	return scoped{listener, client, server}, err
}

func (s scoped) end() error { return errors.Join(s.client.Close(), s.server.Close()) }

// TestScope has three processes listen, serve and refuse: in the probe's own network
// namespace, in one that root made, and in one that belongs to a user's own namespace.
func TestScope(t *testing.T) {
	for _, test := range []struct {
		scope Scope
		seen  []string
	}{
		{"", []string{"own", "root's", "user's"}},
		{ScopeAll, []string{"own", "root's", "user's"}},
		{ScopeHost, []string{"own"}},
		{ScopeInitialUserNS, []string{"own", "root's"}},
	} {
		t.Run("scope "+string(test.scope), func(t *testing.T) {
			enterNetNS(t)
			actors := map[string]*actor{
				"own":    act(t, "scoped", nil),
				"root's": act(t, "scoped", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}),
				"user's": act(t, "scoped", userNamespace()),
			}
			inodes := map[string]uint32{}
			for name, a := range actors {
				var inode uint32
				a.report(&inode)
				inodes[name] = inode
			}
			require.Len(t, slices.Compact(slices.Sorted(maps.Values(inodes))), 3, "namespaces")

			p, err := New(testConfig(func(c *Config) { c.Scope = test.scope }), zaptest.NewLogger(t))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, p.Close()) })
			witness := scopeWitness{seen: map[uint32]scopeFacts{}}
			require.NoError(t, p.Start(witness))
			for _, a := range actors {
				a.order(struct{}{})
				a.report(new(uint32))
			}
			// One connection of each kind in every observed namespace, none elsewhere.
			want := scopeFacts{Listeners: 2, Opened: 1, Adopted: 1, Closed: 2, Refused: 1}
			lacks, err := thisHost(t).Lacks(refusedByReset)
			require.NoError(t, err)
			if lacks != "" {
				want.Refused = 0
			}
			seen := func() map[string]scopeFacts {
				found := map[string]scopeFacts{}
				for name, inode := range inodes {
					if facts := witness.seen[inode]; facts != (scopeFacts{}) {
						// A scan meets a listener once per descriptor.
						facts.Listeners = min(facts.Listeners, 2)
						found[name] = facts
					}
				}
				return found
			}
			wanted := map[string]scopeFacts{}
			for _, name := range test.seen {
				wanted[name] = want
			}
			deadline := time.Now().Add(10 * time.Second)
			for !assert.ObjectsAreEqual(wanted, seen()) && time.Now().Before(deadline) {
				require.NoError(t, p.Drain(time.Now().Add(20*time.Millisecond)))
			}
			// Facts out of scope would have arrived by now, or arrive with this.
			require.NoError(t, p.Drain(time.Now().Add(200*time.Millisecond)))
			assert.Equal(t, wanted, seen())

			snapshot, err := p.Snapshot(func(*connection.Live) {})
			require.NoError(t, err)
			for _, counter := range snapshot.Ports {
				for name, inode := range inodes {
					if counter.NetNS == inode {
						assert.Contains(t, test.seen, name, "a counter of port %d", counter.Port)
					}
				}
			}
		})
	}
}

// TestScopeOfNamespaceFiles finds the namespaces of interfaces::network_namespaces: the
// scope keeps those of root.
func TestScopeOfNamespaceFiles(t *testing.T) {
	found := map[uint32]string{}
	var want uint32
	for _, attributes := range []*syscall.SysProcAttr{userNamespace(), {Cloneflags: unix.CLONE_NEWNET}} {
		a := act(t, "scoped", attributes)
		a.report(&want)
		path := fmt.Sprintf("/proc/%d/ns/net", a.cmd.Process.Pid)
		inode, ok := netns.At(path)
		require.True(t, ok)
		require.Equal(t, want, inode)
		found[inode] = path
	}
	require.Len(t, found, 2)
	netns.LeaveOutForeign(found)
	require.Len(t, found, 1)
	require.Contains(t, found, want, "root's")
}

// userNamespace are the attributes of a process in namespaces that a user made.
func userNamespace() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: anybody, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: anybody, Size: 1}},
		Credential:  &syscall.Credential{NoSetGroups: true},
	}
}
