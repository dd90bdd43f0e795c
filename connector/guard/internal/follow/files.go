// SPDX-License-Identifier: Apache-2.0

// Package follow follows what other programs decide: in files, and in CrowdSec.
package follow

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/lists"
)

// pollEvery is how often files are looked for changes.
const pollEvery = time.Second

// Files are those that say who is blocked, and who never is.
type Files struct {
	Block, Allow []string
	// Blocked and Allowed get each change of a file.
	Blocked, Allowed func(*lists.Update)
	// Networks are the host's own, which no list may block.
	Networks func() []netip.Prefix
	// Now is since boot. Wall is only compared with times of files.
	Now    func() time.Duration
	Wall   func() time.Time
	Logger *zap.Logger

	blocked, allowed *lists.Watcher
	again            atomic.Bool
}

// Again hands over once more what the files block, within a second. Any goroutine may call it.
func (f *Files) Again() { f.again.Store(true) }

// Begin reads who is allowed, before anything is blocked.
func (f *Files) Begin() {
	refuse := lists.DefaultPolicy(f.Networks).Refuse
	f.blocked = lists.New(lists.Settings{Patterns: f.Block, Limits: lists.DefaultLimits(), Refuse: refuse})
	f.allowed = lists.New(lists.Settings{Patterns: f.Allow, Limits: lists.DefaultLimits()})
	f.tell(f.allowed.Poll(f.Now(), f.Wall()), f.Allowed)
}

// Run follows the files after Begin, until the context ends.
func (f *Files) Run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var own []netip.Prefix
	for {
		now, wall := f.Now(), f.Wall()
		if networks := f.Networks(); !slices.Equal(own, networks) {
			own = networks
			f.blocked.Reload()
		}
		// Who is allowed counts first.
		f.tell(f.allowed.Poll(now, wall), f.Allowed)
		f.tell(f.blocked.Poll(now, wall), f.Blocked)
		if f.again.Swap(false) {
			f.tell(f.blocked.All(now), f.Blocked)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (f *Files) tell(updates []lists.Update, apply func(*lists.Update)) {
	for i := range updates {
		u := &updates[i]
		for _, fault := range u.Faults {
			f.Logger.Warn("a line of a list has no effect", zap.Stringer("fault", fault))
		}
		if u.Untold > 0 {
			f.Logger.Warn("more lines of a list have no effect", zap.String("file", u.File), zap.Int("lines", u.Untold))
		}
		apply(u)
	}
}
