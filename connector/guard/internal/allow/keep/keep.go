// SPDX-License-Identifier: Apache-2.0

// Package keep keeps the allow-list up to date with the host.
package keep

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow/host"
)

// List is the allow-list of a host. It is safe for concurrent use.
type List struct {
	set    *allow.Set
	logger *zap.Logger
	// networks are the host's own.
	networks atomic.Pointer[[]netip.Prefix]

	// looking is held while the host is asked, and guards what follows: when it was last asked about
	// sessions, since boot, and what it said lately.
	looking  sync.Mutex
	looked   time.Duration
	known    bool
	sessions host.Recent
	peers    host.Recent
	outbound host.Outbound

	// mu guards doubts, which is what the host could not be asked.
	mu     sync.Mutex
	doubts map[string]bool
}

// freshFor is how old the answer about ssh sessions may be when a block is made.
const freshFor = time.Second

// How long an address stays allowed that was not found again: a look can miss a session, and an
// exporter opens its next connection when it has something to send.
const (
	sessionGrace = time.Minute
	peerGrace    = time.Hour
)

// New makes a list of what the configuration names and of what each host allows.
func New(configured []netip.Prefix, logger *zap.Logger) (*List, error) {
	l := &List{
		set: allow.NewSet(), logger: logger, doubts: make(map[string]bool),
		sessions: host.Recent{Grace: sessionGrace}, peers: host.Recent{Grace: peerGrace},
	}
	var entries []allow.Entry
	for _, prefix := range configured {
		entries = append(entries, allow.Entry{Prefix: prefix, Why: allow.Configured, Detail: "allow"})
	}
	if _, err := l.set.Update("allow", entries); err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	if _, err := l.set.Update("kubernetes", allow.KubernetesAPI(os.Getenv)); err != nil {
		return nil, fmt.Errorf("allow the API of Kubernetes: %w", err)
	}
	return l, nil
}

// Peers allows hosts, host:port pairs or URLs that the collector itself talks to.
func (l *List) Peers(ctx context.Context, source string, endpoints []string) {
	if len(endpoints) == 0 {
		return
	}
	entries, err := allow.Peers(ctx, net.DefaultResolver.LookupNetIP, endpoints, nil)
	l.doubt(source, err)
	l.Replace(source, entries)
}

// Current is the list as it is now.
func (l *List) Current() *allow.List { return l.set.Current() }

// Networks are the host's own, which no list may block.
func (l *List) Networks() []netip.Prefix {
	if all := l.networks.Load(); all != nil {
		return *all
	}
	return nil
}

// Look asks the host about its routes, resolvers, ssh sessions, and whom this process is connected
// to; now is since boot. What can't be read keeps what it allowed last.
func (l *List) Look(now time.Duration) {
	l.looking.Lock()
	defer l.looking.Unlock()
	l.lookAtSessions(now)
	l.lookAtPeers(now)
	routes, err := host.Routes()
	l.doubt("routes", err)
	if err == nil {
		l.Replace("routes", append(routes.Own, routes.Gateways...))
		l.networks.Store(&routes.Networks)
	}
	resolvers, err := host.Resolvers("/")
	l.doubt("resolvers", err)
	if err == nil {
		l.Replace("resolvers", resolvers)
	}
}

// Freshen asks about ssh sessions, unless that was done a moment ago. It reads all processes, so who
// calls it holds no lock that others wait for.
func (l *List) Freshen(now time.Duration) {
	l.looking.Lock()
	defer l.looking.Unlock()
	if !l.known || now-l.looked > freshFor {
		l.lookAtSessions(now)
	}
}

// lookAtSessions asks only about ssh sessions. One look can miss some of them.
func (l *List) lookAtSessions(now time.Duration) {
	l.known, l.looked = true, now
	sessions, err := host.Sessions{}.Find()
	l.doubt("ssh sessions", err)
	if err != nil && len(sessions) == 0 {
		return
	}
	l.Replace("sessions", l.sessions.Keep(sessions, now))
}

// lookAtPeers asks whom this process is connected to, such as backends of its exporters.
func (l *List) lookAtPeers(now time.Duration) {
	peers, err := l.outbound.Find()
	l.doubt("connections of the collector", err)
	if err == nil {
		l.Replace("connections", l.peers.Keep(peers, now))
	}
}

// Replace replaces what a source allows.
func (l *List) Replace(source string, entries []allow.Entry) {
	if _, err := l.set.Update(source, entries); err != nil {
		l.logger.Warn("a part of the allow-list was not changed", zap.String("source", source), zap.Error(err))
	}
}

// doubt tells of each source once until it can be read again.
func (l *List) doubt(source string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && !l.doubts[source] {
		l.logger.Warn("the host doesn't tell all that is to be allowed", zap.String("source", source), zap.Error(err))
	}
	l.doubts[source] = err != nil
}
