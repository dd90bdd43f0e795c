// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/attach"
)

// LockWait is how long a change waits for other instances, at most.
const LockWait = attach.LockWait

// Program is what a user of a Manager attaches to interfaces.
type Program struct {
	// Name identifies the program in this process and in earlier ones. Names of filters
	// and states of hooks contain it. It consists of lower-case letters, digits and
	// underscores.
	Name string
	// Order says which program runs first on an interface: the one with the lower number.
	Order int
	// Mode says where it attaches.
	Mode Mode
	// First puts it before programs of other processes, as far as Order allows. Otherwise
	// it goes behind them.
	First bool
	// Refuse returns an error for a hook that the configuration excludes; nil refuses
	// nothing.
	Refuse func(hook string) error
	// Interfaces selects the interfaces.
	Interfaces Selection
	// Load returns the program for one direction of devices whose packets begin with these
	// headers. It is asked for both directions, and nil is refused: for a direction of no
	// interest it returns a program that does nothing. The user owns the result, and keeps
	// it until Remove has returned.
	Load func(Direction, Headers) (*ebpf.Program, error)
	// Follower may be nil.
	Follower Follower
	Logger   *zap.Logger
}

// Interface is one that a program is attached to.
type Interface struct {
	Index int
	Name  string
}

// Follower learns what a Manager does with a program. Calls never overlap.
type Follower interface {
	// Look comes with each reading of the namespace, after the calls of Leave and before
	// those of Enter that follow from it. The thread is in the namespace.
	Look(*View)
	// Enter comes before the program is attached to an interface. An error prevents that.
	Enter(Interface) error
	// Rename comes when an interface has another name than at Enter.
	Rename(Interface)
	// Leave comes after the program was detached from an interface that had Enter. It does
	// not come with Remove.
	Leave(Interface)
}

// State is that of a program's hook in one direction, over all interfaces.
type State struct {
	// Program is its name in the manager.
	Program string
	// Hook is the kernel's name, such as tcx/ingress.
	Hook string
	// Attached is set if it is attached to at least one interface.
	Attached bool
	// Err says where attaching failed, and why.
	Err error
}

func (p *Program) check() error {
	other := func(r rune) bool { return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }
	switch {
	case p.Name == "" || strings.ContainsFunc(p.Name, other):
		return fmt.Errorf("packet program %q: the name is not made of lower-case letters, digits and underscores", p.Name)
	case p.Load == nil:
		return fmt.Errorf("packet program %s: Load is missing", p.Name)
	}
	return nil
}

func (p *Program) refuse(hook string) error {
	if p.Refuse == nil {
		return nil
	}
	return p.Refuse(hook)
}
