// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
)

// maxServers is how many processes of sshd are examined.
const maxServers = 8192

// Sessions finds the clients of ssh sessions past authentication.
//
// Such a session is a process of sshd that holds the client's socket and has a login uid of its
// own, or runs as neither root nor sshd's user. Before authentication it has no login uid, and
// runs as root or as sshd's user. How old a connection is says nothing: anybody can hold one open.
//
// A login uid that sshd itself has was inherited, for example because a person started sshd by
// hand. It proves nothing. Neither does a socket of a port that sshd does not listen on: with
// port forwarding a session also holds sockets of others. Where another program listens for sshd,
// such as systemd, the first socket of the process that it starts is the client's.
type Sessions struct {
	// Proc is where procfs is mounted; /proc if empty.
	Proc string
}

// Find returns the clients that are logged in. What it could not read is in the error, and
// what it could read is returned all the same.
func (s Sessions) Find() ([]allow.Entry, error) {
	proc := s.Proc
	if proc == "" {
		proc = "/proc"
	}
	servers, err := findServers(proc)
	faults := []error{err}
	look := &look{proc: proc, tables: map[string]map[uint64]socket{}}
	for _, p := range servers {
		// A process that has ended meanwhile is none.
		if err := look.read(p); err != nil && !errors.Is(err, os.ErrNotExist) && !isGone(err) {
			faults = append(faults, fmt.Errorf("read sockets of sshd %d: %w", p.pid, err))
		}
	}
	return clients(servers), errors.Join(faults...)
}

// clients are those of the processes that are past authentication.
func clients(servers map[int]*server) []allow.Entry {
	ports := listeners(servers)
	seen := map[netip.Addr]bool{}
	var entries []allow.Entry
	for _, pid := range order(servers) {
		p := servers[pid]
		if !p.authenticated(servers) {
			continue
		}
		for _, s := range p.served(servers, ports) {
			client := s.remote.Addr().Unmap()
			if seen[client] || len(entries) >= maxSessions {
				continue
			}
			seen[client] = true
			entries = append(entries, allow.Entry{Prefix: address.Of(client), Why: allow.SSHSession, Detail: "sshd " + strconv.Itoa(pid)})
		}
	}
	return entries
}

// served are the connections of clients that a process holds, or the one above it.
func (p *server) served(servers map[int]*server, ports map[portOf]bool) (of []socket) {
	for _, s := range p.sockets {
		if s.state == established && ports[portOf{p.netns, s.local.Port()}] {
			of = append(of, s)
		}
	}
	top := p.top(servers)
	if top.uid != 0 || top.listens(servers) {
		return of
	}
	for _, s := range top.sockets {
		if s.state == established {
			return append(of, s)
		}
	}
	return of
}

// top is the process of sshd from which all others of a session come.
func (p *server) top(servers map[int]*server) *server {
	top := p
	for range maxServers {
		above := servers[top.parent]
		if above == nil {
			break
		}
		top = above
	}
	return top
}

func order(servers map[int]*server) []int {
	pids := make([]int, 0, len(servers))
	for pid := range servers {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}

// portOf is a port in a network namespace.
type portOf struct {
	netns string
	port  uint16
}

// listeners returns the ports that sshd listens on.
func listeners(servers map[int]*server) map[portOf]bool {
	ports := map[portOf]bool{}
	for _, p := range servers {
		if !p.listens(servers) {
			continue
		}
		for _, s := range p.sockets {
			if s.state == listen {
				ports[portOf{p.netns, s.local.Port()}] = true
			}
		}
	}
	return ports
}

// listens tells whether a process is the sshd that accepts connections. For a moment it also holds
// the connection that it has just accepted. A session that listens for port forwarding, and has
// outlived its sshd, holds a connection of a port that it does not listen on.
func (p *server) listens(servers map[int]*server) bool {
	if servers[p.parent] != nil || p.uid != 0 {
		return false
	}
	ports := map[uint16]bool{}
	for _, s := range p.sockets {
		if s.state == listen {
			ports[s.local.Port()] = true
		}
	}
	for _, s := range p.sockets {
		if s.state == established && !ports[s.local.Port()] {
			return false
		}
	}
	return len(ports) > 0
}

// authenticated tells whether a process of sshd serves somebody who is logged in.
func (p *server) authenticated(servers map[int]*server) bool {
	if p.listens(servers) {
		return false
	}
	if p.login != unset && !p.inherited(servers) {
		return true
	}
	// If sshd's user is not known, any user may be that one.
	return p.uid != 0 && p.privsepKnown && p.uid != p.privsep
}

// inherited tells whether the login uid is that of the sshd that accepted the connection, or of who
// started an sshd that accepts none. A session that has outlived its sshd can't tell. It is one
// that is logged in, or ends within the two minutes that sshd gives to log in.
func (p *server) inherited(servers map[int]*server) bool {
	top := p.top(servers)
	if top.listens(servers) {
		return top != p && top.login == p.login
	}
	return top.spawner == p.login
}

// isServer tells whether a name is that of an executable of sshd.
func isServer(executable string) bool {
	switch path.Base(executable) {
	case "sshd", "sshd-session", "sshd-auth":
		return true
	}
	return false
}
