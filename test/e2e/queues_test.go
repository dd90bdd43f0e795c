// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// playDeaf listens with a backlog and accepts nobody, until its standard input ends.
func playDeaf(address, backlog string) error {
	fd, sockaddr, err := newSocket(address, 0)
	if err != nil {
		return err
	}
	length, err := strconv.Atoi(backlog)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Bind(fd, sockaddr), unix.Listen(fd, length)); err != nil {
		return err
	}
	return lab.UntilInputEnds()
}

// playCallers begins connections and holds them, until its standard input ends.
func playCallers(address, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	for range n {
		fd, sockaddr, err := newSocket(address, unix.SOCK_NONBLOCK)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, sockaddr); !errors.Is(err, unix.EINPROGRESS) {
			return err
		}
	}
	return lab.UntilInputEnds()
}

func newSocket(address string, flags int) (int, unix.Sockaddr, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0, nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|flags, 0)
	return fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}, err
}

// TestQueues has two containers listen on one port and accept nobody: their queues
// are what ss shows in each, and what was turned away is what the kernel counted.
func TestQueues(t *testing.T) {
	needing(t, "queue")
	const port, callers = 28160, 8
	type container struct {
		*network
		id      string
		backlog int
		server  *actor
	}
	containers := make([]*container, 2)
	for i := range containers {
		c := &container{network: newNetwork(t), id: containerID(t), backlog: 1 + 2*i}
		containers[i] = c
		c.server = c.network.server.act(t, "deaf", c.network.At(port).String(), strconv.Itoa(c.backlog))
		c.server.ready(t)
		joinContainer(t, c.id, c.server)
	}
	out := startSink(t, namespace{})
	agent := startAgent(t, out.endpoint, agentSettings{})
	for _, c := range containers {
		c.client.act(t, "callers", c.network.At(port).String(), strconv.Itoa(callers)).ready(t)
	}

	value := func(c *container, metric string) float64 {
		return out.total(t, func(p point) bool {
			return of(metric, port)(p) && p.values["container.id"] == c.id
		}).value
	}
	for _, c := range containers {
		length, limit := c.network.server.listenQueue(t, port)
		assert.EqualValues(t, c.backlog+1, length)
		assert.EqualValues(t, c.backlog, limit)
		assert.Eventually(t, func() bool {
			return value(c, "accept_queue.length") == length && value(c, "accept_queue.limit") == limit
		}, settle, tick, "queue of container %s", c.id)
		// Clients try again meanwhile.
		assert.Eventually(t, func() bool {
			kernels := c.network.server.counter(t, "ListenOverflows")
			return kernels >= float64(callers-c.backlog-1) && value(c, "accept_queue.overflows") == kernels
		}, settle, tick)
		assert.Zero(t, value(c, "syn_queue.length"))
	}
	for _, c := range containers {
		c.server.End()
	}
	agent.stop()
	out.stop()
	for _, c := range containers {
		// Without the hooks nobody can read the namespace after its last process.
		assert.LessOrEqual(t, value(c, "accept_queue.overflows"), c.network.server.counter(t, "ListenOverflows"))
	}
	for _, p := range out.points(t, of("accept_queue.length", port)) {
		assert.Equal(t, "e2e.test", p.values["process.executable.name"])
		assert.NotContains(t, p.values, "network.type", "a listener may take both")
	}
}

// listenQueue is what ss shows for the listener on a port.
func (ns namespace) listenQueue(t *testing.T, port int) (length, limit float64) {
	t.Helper()
	fields := strings.Fields(ns.run(t, "ss", "-Hltn", fmt.Sprintf("sport = %d", port)))
	require.GreaterOrEqual(t, len(fields), 4, "%v", fields)
	length, err := strconv.ParseFloat(fields[1], 64)
	require.NoError(t, err)
	limit, err = strconv.ParseFloat(fields[2], 64)
	require.NoError(t, err)
	return length, limit
}
