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

	// mu guards doubts, which is what the host could not be asked, and recent.
	mu     sync.Mutex
	doubts map[string]bool
	recent host.Recent
}

// New makes a list of what the configuration names and of what each host allows.
func New(configured []netip.Prefix, logger *zap.Logger) (*List, error) {
	l := &List{set: allow.NewSet(), logger: logger, doubts: make(map[string]bool)}
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

// Look asks the host about its routes, resolvers and ssh sessions; now is since boot. What can't be
// read keeps what it allowed last.
func (l *List) Look(now time.Duration) {
	l.LookAtSessions(now)
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

// LookAtSessions asks only about ssh sessions. One look can miss some of them.
func (l *List) LookAtSessions(now time.Duration) {
	sessions, err := host.Sessions{}.Find()
	l.doubt("ssh sessions", err)
	if err != nil && len(sessions) == 0 {
		return
	}
	l.mu.Lock()
	sessions = l.recent.Keep(sessions, now)
	l.mu.Unlock()
	l.Replace("sessions", sessions)
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
