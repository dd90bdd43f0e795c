// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"net/netip"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/guard"
)

// kernel is what a keeper needs of internal/guard.
type kernel interface {
	Start() error
	States() []guard.State
	Renew() error
	LetPass() error
	Put(netip.Prefix, guard.Block) error
	Remove(netip.Prefix) (guard.Counts, error)
	Each(func(netip.Prefix, guard.Counts)) error
	Allow([]netip.Prefix) error
	CutsBy() (string, error)
	Cut() (int, error)
	Totals() (guard.Totals, error)
	Close() error
}

// machine is what a keeper runs on.
type machine struct {
	// open loads the guard's programs.
	open func(guard.Options) (kernel, error)
	// boot is the time since boot, suspended time included.
	boot func() time.Duration
	// wall is the wall clock.
	wall func() time.Time
}

func hostSide() machine {
	return machine{
		open: func(o guard.Options) (kernel, error) { return guard.New(o) },
		boot: guard.SinceBoot, wall: time.Now,
	}
}
