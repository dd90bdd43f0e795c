// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Addresses of a network; the client answers for all of clientPool.
const (
	serverAddress = "10.213.0.1"
	clientAddress = "10.213.0.2"
	clientPool    = "10.214.0.0/16"
)

// namespace is a network namespace, by its name.
type namespace string

// network is a server and a client in namespaces of their own, a veth pair apart.
type network struct{ server, client namespace }

// newNetwork makes one; close removes it.
func newNetwork() (*network, error) {
	id := fmt.Sprint(os.Getpid())
	n := &network{namespace("ebpftcp-bs" + id), namespace("ebpftcp-bc" + id)}
	err := ip(
		"netns add "+string(n.server),
		"netns add "+string(n.client),
		n.server.ip("link set lo up"),
		n.client.ip("link set lo up"),
		n.server.ip("link add eth0 type veth peer name eth0 netns "+string(n.client)),
		n.server.ip("addr add "+serverAddress+"/24 dev eth0"),
		n.client.ip("addr add "+clientAddress+"/24 dev eth0"),
		n.server.ip("link set eth0 up"),
		n.client.ip("link set eth0 up"),
		n.server.ip("route add "+clientPool+" via "+clientAddress),
		n.client.ip("route add local "+clientPool+" dev lo"),
	)
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *network) close() error {
	var failed []error
	for _, ns := range []namespace{n.server, n.client} {
		if _, err := os.Stat("/run/netns/" + string(ns)); err == nil {
			failed = append(failed, ip("netns del "+string(ns)))
		}
	}
	return errors.Join(failed...)
}

// ip runs ip(8) once for each line of arguments.
func ip(lines ...string) error {
	for _, line := range lines {
		if _, err := run(exec.Command("ip", strings.Fields(line)...)); err != nil {
			return err
		}
	}
	return nil
}

// ip is a line for ip that is about the namespace.
func (ns namespace) ip(line string) string { return "-n " + string(ns) + " " + line }

// command prepares a program that runs inside, with the process id that it starts with.
func (ns namespace) command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", string(ns), name}, args...)...)
}

// do calls a function on a thread in the namespace.
func (ns namespace) do(f func() error) error {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		failed <- func() error {
			fd, err := unix.Open("/run/netns/"+string(ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open namespace %s: %w", ns, err)
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter namespace %s: %w", ns, err)
			}
			return f()
		}()
	}()
	return <-failed
}
