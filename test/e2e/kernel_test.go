// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// kernelObjects lists all programs, maps and links through the kernel.
func kernelObjects(t *testing.T) (all map[lab.Object]bool) {
	t.Helper()
	var err error
	ok := assert.Eventually(t, func() bool {
		all, err = listObjects()
		return !errors.Is(err, unix.EAGAIN) // a link that another program is about to make
	}, settle, tick)
	require.True(t, ok)
	require.NoError(t, err)
	return all
}

func listObjects() (map[lab.Object]bool, error) {
	all := map[lab.Object]bool{}
	for kind, following := range map[string]func(uint32) (uint32, error){
		"program": func(id uint32) (uint32, error) {
			n, err := ebpf.ProgramGetNextID(ebpf.ProgramID(id))
			return uint32(n), err
		},
		"map": func(id uint32) (uint32, error) {
			n, err := ebpf.MapGetNextID(ebpf.MapID(id))
			return uint32(n), err
		},
	} {
		for id, err := following(0); ; id, err = following(id) {
			if errors.Is(err, os.ErrNotExist) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("list each %s: %w", kind, err)
			}
			all[lab.Object{Kind: kind, ID: id}] = true
		}
	}
	links := new(link.Iterator)
	defer links.Close()
	for links.Next() {
		all[lab.Object{Kind: "link", ID: uint32(links.ID)}] = true
	}
	if err := links.Err(); err != nil {
		return nil, fmt.Errorf("list each link: %w", err)
	}
	return all, nil
}

// checkGone waits until the kernel has freed all objects that are in after but not in before.
// It frees some a little later.
func checkGone(t *testing.T, before, after map[lab.Object]bool) {
	t.Helper()
	var left []lab.Object
	assert.Eventually(t, func() bool {
		now, err := listObjects()
		if err != nil {
			return false
		}
		left = left[:0]
		for o := range now {
			if after[o] && !before[o] {
				left = append(left, o)
			}
		}
		return len(left) == 0
	}, settle, tick, "objects stay behind")
	assert.Empty(t, left)
}

// TestNothingStaysBehind compares the kernel's objects before, during and after a run of the
// collector, in each way of attaching to interfaces.
func TestNothingStaysBehind(t *testing.T) {
	for _, mode := range []string{"auto", "tcx", "clsact", "off"} {
		t.Run("tc "+mode, func(t *testing.T) {
			const port = 28150
			n := newNetwork(t)
			n.server.startServer(t, port)
			out := startSink(t, n.server)
			qdiscs := n.server.run(t, "tc", "qdisc", "show")
			before := kernelObjects(t)
			agent := startAgent(t, out.endpoint, agentSettings{
				in: n.server, receiver: "    tc: {mode: " + mode + "}",
			})
			c := n.client.dial(t, n.At(port))
			c.do(step{Ask: ask{Reply: 100, Then: fin}}).do(step{End: eof})
			require.Eventually(t, func() bool {
				return len(out.records(t, at("tcp.server.connection.close", port))) == 1
			}, settle, tick, "the collector does not work")
			while := kernelObjects(t)
			kinds := map[string]int{}
			for o := range while {
				if !before[o] {
					kinds[o.Kind]++
				}
			}
			assert.Positive(t, kinds["program"])
			assert.Positive(t, kinds["map"])
			assert.Positive(t, kinds["link"])
			if mode == "clsact" {
				assert.Contains(t, n.server.run(t, "tc", "qdisc", "show"), "clsact")
			}
			agent.stop()

			checkGone(t, before, while)
			assert.Equal(t, qdiscs, n.server.run(t, "tc", "qdisc", "show"), "queueing disciplines")
		})
	}
}

// TestForeignQdiscStays: an existing qdisc stays, with the filter of another program in it.
func TestForeignQdiscStays(t *testing.T) {
	n := newNetwork(t)
	n.server.run(t, "tc", "qdisc", "add", "dev", "eth0", "clsact")
	// A classic program that returns 0: it matches nothing.
	n.server.run(t, "tc", "filter", "add", "dev", "eth0", "ingress", "protocol", "ip", "prio", "7",
		"bpf", "bytecode", "1,6 0 0 0,")
	show := func() string {
		return n.server.run(t, "tc", "qdisc", "show") +
			n.server.run(t, "tc", "filter", "show", "dev", "eth0", "ingress")
	}
	before := show()
	out := startSink(t, n.server)
	agent := startAgent(t, out.endpoint, agentSettings{in: n.server, receiver: "    tc: {mode: clsact}"})
	assert.NotEqual(t, before, show(), "the collector has a filter of its own")
	agent.stop()
	assert.Equal(t, before, show())
}

// TestExamplesAreValid asks the collector itself.
func TestExamplesAreValid(t *testing.T) {
	examples, err := filepath.Glob("../../examples/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, examples)
	for _, example := range examples {
		said, err := exec.Command(os.Getenv(collectorVariable), "validate", byStatus, "--config", example).CombinedOutput()
		assert.NoError(t, err, "%s: %s", example, said)
	}
}
