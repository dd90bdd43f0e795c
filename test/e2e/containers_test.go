// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestContainers runs two servers on one port, each in a namespace and a cgroup of
// its own that look like a container's. They must stay two series.
func TestContainers(t *testing.T) {
	const port = 28140
	connections := []int{3, 5}
	ids := make([]string, len(connections))
	networks := make([]*network, len(connections))
	for i := range connections {
		networks[i], ids[i] = newNetwork(t), containerID(t)
		server := networks[i].server.startServer(t, port)
		joinContainer(t, ids[i], server)
	}
	out := startSink(t, namespace{})
	prometheus := freePort(t)
	agent := startAgent(t, out.endpoint, agentSettings{prometheus: prometheus})
	for i, count := range connections {
		for range count {
			c := networks[i].client.dial(t, networks[i].At(port))
			c.do(step{Ask: ask{Reply: 100, Then: fin}}).do(step{End: eof})
		}
	}

	var series map[string]float64
	ok := assert.Eventually(t, func() bool {
		series = map[string]float64{}
		for _, s := range (namespace{agent.In}).scrape(t, prometheus) {
			if s.Name == "tcp_server_connection_opened" && s.Labels["server_port"] == strconv.Itoa(port) {
				series[s.Labels["container_id"]] += s.Value
			}
		}
		return len(series) == 2 && series[ids[0]] == 3 && series[ids[1]] == 5
	}, settle, 5*tick)
	if !ok {
		t.Fatalf("the two containers are not two series: %v", series)
	}
	agent.stop()
	out.stop()
	for i, count := range connections {
		closes := out.records(t, func(r record) bool {
			return at("tcp.server.connection.close", port)(r) && r.values["container.id"] == ids[i]
		})
		assert.Len(t, closes, count, "closes of container %d", i)
		for _, r := range closes {
			assert.Equal(t, ids[i], r.values["service.instance.id"])
		}
	}
}

// TestContainerInADelegatedTree: the owner of a cgroup chooses the names below it.
func TestContainerInADelegatedTree(t *testing.T) {
	const port, user = 28141, 1000
	id := containerID(t)
	netns := newNetwork(t)
	server := netns.server.startServer(t, port)
	joinCgroup(t, "users/docker-"+id+".scope", user, server)
	out := startSink(t, namespace{})
	agent := startAgent(t, out.endpoint, agentSettings{})
	c := netns.client.dial(t, netns.At(port))
	c.do(step{Ask: ask{Reply: 100, Then: fin}}).do(step{End: eof})
	agent.stop()
	out.stop()
	closes := out.records(t, at("tcp.server.connection.close", port))
	require.Len(t, closes, 1)
	assert.Equal(t, id, closes[0].values["container.id"])
	assert.Equal(t, true, closes[0].values["tcp.container.delegated"])
}

// containerID is 64 hexadecimal digits.
func containerID(t *testing.T) string {
	t.Helper()
	id := make([]byte, 32)
	_, err := rand.Read(id)
	require.NoError(t, err)
	return hex.EncodeToString(id)
}

// joinContainer moves a process to cgroups with the path that Docker gives.
func joinContainer(t *testing.T, id string, process *actor) {
	t.Helper()
	joinCgroup(t, "docker/"+id, 0, process)
}

// joinCgroup moves a process to cgroups with a path of two directories, in every
// hierarchy that is mounted: v2, or v1's, or both. The upper one is the user's.
func joinCgroup(t *testing.T, path string, user int, process *actor) {
	t.Helper()
	joined := 0
	for _, root := range []string{"", "unified", "memory", "pids"} {
		top := filepath.Join("/sys/fs/cgroup", root)
		if _, err := os.Stat(filepath.Join(top, "cgroup.procs")); err != nil {
			continue
		}
		group := filepath.Join(top, path)
		parent := filepath.Dir(group)
		made := os.Mkdir(parent, 0o755) == nil
		if made {
			require.NoError(t, os.Chown(parent, user, user))
		}
		require.NoError(t, os.Mkdir(group, 0o755))
		t.Cleanup(func() {
			process.End() // a group in use can't be removed
			assert.Eventually(t, func() bool { return os.Remove(group) == nil }, settle, tick)
			if made {
				_ = os.Remove(parent)
			}
		})
		require.NoError(t, os.WriteFile(filepath.Join(group, "cgroup.procs"),
			[]byte(strconv.Itoa(process.PID())), 0o644))
		joined++
	}
	require.Positive(t, joined, "no cgroup hierarchy found")
}
