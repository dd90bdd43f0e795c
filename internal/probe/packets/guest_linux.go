// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package packets

import (
	"errors"
	"maps"
	"time"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// Companion makes the guest of a network namespace: another packet program that attaches
// wherever this vantage point does. It does not change the kernel.
type Companion func(netns uint32, ports *ebpf.Map, logger *zap.Logger) Guest

// Guest is another packet program in one network namespace.
type Guest interface {
	// Begin attaches it. Hooks tells what was refused.
	Begin(*tc.Manager)
	// Hooks always has as many states. failed is why there was no Begin; else nil.
	Hooks(failed error) []hook.State
	// Stop, LetGo and Detach are like those of tc.Attached, and come before the manager is
	// closed. They also come without Begin.
	Stop(limit time.Time)
	LetGo() error
	Detach() error
	// Maps are nil without programs.
	Maps() map[string]*ebpf.Map
	// Close may come twice.
	Close()
}

// detachGuests comes before our own program is detached, because the manager is ours.
func (n *namespace) detachGuests() error {
	var err error
	for _, guest := range n.guests {
		err = errors.Join(err, guest.Detach())
	}
	return err
}

// guestMaps are those of the guests' programs. Sections have the names that each object has.
func (n *namespace) guestMaps() map[string]*ebpf.Map {
	all := map[string]*ebpf.Map{}
	for _, guest := range n.guests {
		maps.Copy(all, guest.Maps())
	}
	return all
}
