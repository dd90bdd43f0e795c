// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace is a named network namespace; the empty name is the host's.
type Namespace string

// Command prepares a program that runs inside, with the process id that it starts with.
func (ns Namespace) Command(name string, args ...string) *exec.Cmd {
	if ns == "" {
		return exec.Command(name, args...)
	}
	return exec.Command("ip", append([]string{"netns", "exec", string(ns), name}, args...)...)
}

// Run executes a program inside to its end and returns what it printed.
func (ns Namespace) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := ns.Command(name, args...)
	return Run(exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...))
}

// IP runs ip(8) inside, once for each line of arguments.
func (ns Namespace) IP(lines ...string) error {
	for _, line := range lines {
		if err := IP("-n " + string(ns) + " " + line); err != nil {
			return err
		}
	}
	return nil
}

// Do calls a function on a thread in the namespace; the thread ends with it.
func (ns Namespace) Do(f func() error) error {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
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

// Counters are the kernel's TCP counters of the namespace, such as PassiveOpens and
// ListenOverflows.
func (ns Namespace) Counters(ctx context.Context) (map[string]float64, error) {
	text, err := ns.Run(ctx, "cat", "/proc/net/snmp", "/proc/net/netstat")
	if err != nil {
		return nil, err
	}
	counters := map[string]float64{}
	// Each group is a line of names, then a line of values.
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] != "Tcp:" && fields[0] != "TcpExt:":
		case len(names) == 0 || names[0] != fields[0]:
			names = fields
		default:
			for i := 1; i < min(len(names), len(fields)); i++ {
				if counters[names[i]], err = strconv.ParseFloat(fields[i], 64); err != nil {
					return nil, fmt.Errorf("read the kernel's counters: %w", err)
				}
			}
			names = nil
		}
	}
	return counters, nil
}

// IP runs ip(8) once for each line of arguments.
func IP(lines ...string) error {
	for _, line := range lines {
		if _, err := Run(exec.Command("ip", strings.Fields(line)...)); err != nil {
			return err
		}
	}
	return nil
}

// Network is a server and a client in namespaces of their own, connected by a veth pair
// whose ends are called eth0.
type Network struct {
	Server, Client Namespace
	// Addresses of both ends, IPv4 and IPv6.
	Server4, Server6, Client4, Client6 netip.Addr
}

// NewNetwork makes a network; Close removes it. The number, at most 255, tells the
// networks of one process apart.
func NewNetwork(number int) (*Network, error) {
	id := fmt.Sprintf("%d-%d", os.Getpid(), number)
	n := &Network{
		Server:  Namespace("ebpftcp-s" + id),
		Client:  Namespace("ebpftcp-c" + id),
		Server4: netip.MustParseAddr(fmt.Sprintf("10.213.%d.1", number)),
		Client4: netip.MustParseAddr(fmt.Sprintf("10.213.%d.2", number)),
		Server6: netip.MustParseAddr(fmt.Sprintf("fd5e:b9f:%x::1", number)),
		Client6: netip.MustParseAddr(fmt.Sprintf("fd5e:b9f:%x::2", number)),
	}
	err := IP("netns add "+string(n.Server), "netns add "+string(n.Client))
	if err == nil {
		err = n.Server.IP("link add eth0 type veth peer name eth0 netns " + string(n.Client))
	}
	if err == nil {
		err = errors.Join(n.Server.setUp(n.Server4, n.Server6), n.Client.setUp(n.Client4, n.Client6))
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// setUp gives the addresses to eth0.
func (ns Namespace) setUp(v4, v6 netip.Addr) error {
	return ns.IP(
		"link set lo up",
		fmt.Sprintf("addr add %s/24 dev eth0", v4),
		fmt.Sprintf("addr add %s/64 dev eth0 nodad", v6),
		"link set eth0 up")
}

// Close removes the namespaces that still exist.
func (n *Network) Close() error {
	var failed []error
	for _, ns := range []Namespace{n.Server, n.Client} {
		if _, err := os.Stat("/run/netns/" + string(ns)); err == nil {
			failed = append(failed, IP("netns del "+string(ns)))
		}
	}
	return errors.Join(failed...)
}

// RouteToClient has the server send what is for these addresses to the client, which
// forwards nothing.
func (n *Network) RouteToClient(pool netip.Prefix) error {
	return n.Server.IP(fmt.Sprintf("route add %s via %s", pool, n.Client4))
}

// GiveClient makes these addresses the client's own.
func (n *Network) GiveClient(pool netip.Prefix) error {
	return errors.Join(n.RouteToClient(pool), n.Client.IP(fmt.Sprintf("route add local %s dev lo", pool)))
}

// At is a port of the server over IPv4.
func (n *Network) At(port int) netip.AddrPort { return netip.AddrPortFrom(n.Server4, uint16(port)) }
