// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow/host"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/settings"
)

// lookEvery is how often the host is asked whom nobody may block. freshFor is how old the answer
// about ssh sessions may be when a block is made.
const (
	lookEvery = 5 * time.Second
	freshFor  = time.Second
)

// alwaysAllowed is the list of the configuration and what every host allows.
func (k *keeper) alwaysAllowed() (*allow.Set, error) {
	set := allow.NewSet()
	var entries []allow.Entry
	for _, prefix := range settings.Prefixes(k.cfg.Allow) {
		entries = append(entries, allow.Entry{Prefix: prefix, Why: allow.Configured, Detail: "allow"})
	}
	if _, err := set.Update("allow", entries); err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	if _, err := set.Update("kubernetes", allow.KubernetesAPI(os.Getenv)); err != nil {
		return nil, fmt.Errorf("allow the API of Kubernetes: %w", err)
	}
	return set, nil
}

// look asks the host about its routes, resolvers and ssh sessions. What can't be read keeps what
// it allowed last.
func (k *keeper) look() {
	k.lookAtSessions()
	routes, err := host.Routes()
	k.doubt("routes", err)
	if err == nil {
		k.allow("routes", append(routes.Own, routes.Gateways...))
		k.networks.all.Store(&routes.Networks)
	}
	resolvers, err := host.Resolvers("/")
	k.doubt("resolvers", err)
	if err == nil {
		k.allow("resolvers", resolvers)
	}
}

func (k *keeper) lookAtSessions() {
	sessions, err := host.Sessions{}.Find()
	k.doubt("ssh sessions", err)
	if err == nil || len(sessions) > 0 {
		k.allow("sessions", sessions)
	}
}

// doubt tells of each source once until it can be read again.
func (k *keeper) doubt(source string, err error) {
	k.doubtful.Lock()
	defer k.doubtful.Unlock()
	if err != nil && !k.doubts[source] {
		k.set.Logger.Warn("the host doesn't tell all that is to be allowed", zap.String("source", source), zap.Error(err))
	}
	k.doubts[source] = err != nil
}

func (k *keeper) allow(source string, entries []allow.Entry) {
	if _, err := k.allowed.Update(source, entries); err != nil {
		k.set.Logger.Warn("a part of the allow-list was not changed", zap.String("source", source), zap.Error(err))
	}
}

// refresh asks the host and applies what changed.
func (k *keeper) refresh() {
	k.look()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looked = k.host.boot()
	k.applyAllowed()
}

// applyAllowed tells the kernel of a changed list, and lifts the blocks that it forbids. The
// caller holds mu.
func (k *keeper) applyAllowed() {
	list := k.allowed.Current()
	if k.table == nil || list == k.applied {
		return
	}
	if k.kernel != nil {
		var all []netip.Prefix
		for _, entry := range list.All() {
			all = append(all, entry.Prefix)
		}
		if err := k.kernel.Allow(all); err != nil {
			k.note("allow", err)
			return
		}
	}
	k.applied = list
	k.mark()
}

// mark lifts blocks of allowed sources, and has the programs ask for the list where a block
// contains an allowed address.
func (k *keeper) mark() {
	var keys []netip.Prefix
	for key := range k.table.All() {
		_, whole := k.applied.Find(key)
		_, within := k.applied.Within(key)
		if whole || within != k.asking[key] {
			keys = append(keys, key)
		}
	}
	now := k.host.boot()
	for _, key := range keys {
		if _, whole := k.applied.Find(key); whole {
			for _, d := range k.table.LiftAll(key, now) {
				k.apply(&d, now)
			}
			continue
		}
		until := time.Duration(0)
		for _, b := range k.table.Get(key) {
			until = max(until, b.Until)
		}
		k.note("change a block", k.put(key, until, now))
	}
}

// isAllowed tells why a source is allowed, by a fresh answer of the host.
func (k *keeper) isAllowed(r *blocks.Request, now time.Duration) (allow.Entry, bool) {
	if now-k.looked > freshFor {
		k.looked = now
		k.lookAtSessions()
		k.applyAllowed()
	}
	return k.allowed.Current().Find(r.Prefix)
}
