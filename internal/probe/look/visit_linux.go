// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package look

//lint:file-ignore U1000 staticcheck does not follow methods of generic types behind an interface

import (
	"cmp"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// visitor looks at all sockets of the network namespaces that have entries, and keeps the
// looks until the entries are known. It may enter other namespaces only with CAP_SYS_ADMIN.
type visitor[L any] struct {
	hook.Iterator
	own uint32
	// listening are the namespaces that have listeners.
	listening func() map[uint32]bool
	finder    *netNSFinder
	// gives is what is lost where it can't enter. noEntry says why it can enter no other
	// namespace, skipped why it could not enter some of them in this pass.
	gives            string
	noEntry, skipped error
	// seen are the looks of this pass, by socket and entry.
	seen map[[2]uint64]L
	// visited are the namespaces of this pass, wanted those that had entries in it.
	visited, wanted map[uint32]bool
}

func newVisitor[L any](s *Sources, program, gives string) *visitor[L] {
	return &visitor[L]{
		Iterator:  hook.Iterator{Program: program, Point: "iter/tcp"},
		own:       s.OwnNetNS,
		listening: s.Listening,
		finder:    newNetNSFinder(s.NetNSFiles),
		gives:     gives,
	}
}

func (v *visitor[L]) hook() string { return v.Point }

func (v *visitor[L]) load(s *Sources) error {
	object, err := s.object()
	if err = cmp.Or(err, s.Host.NoBTF); err != nil {
		return err
	}
	v.noEntry = hook.MayEnterNetNS(s.Host.Excluded)
	return v.Attach(object)
}

// begin visits the namespaces that have listeners, or had entries in the pass before.
func (v *visitor[L]) begin() error {
	wanted := v.wanted
	v.seen, v.visited, v.wanted = make(map[[2]uint64]L), make(map[uint32]bool), make(map[uint32]bool)
	if err := v.visit(v.own); err != nil || v.noEntry != nil {
		return err
	}
	for inode := range v.listening() {
		if wanted == nil {
			wanted = make(map[uint32]bool)
		}
		wanted[inode] = true
	}
	delete(wanted, v.own)
	v.finder.find(wanted, time.Now())
	v.skipped = v.visitOthers(wanted, v.runIn)
	return nil
}

// visitOthers returns the last error. One namespace that can't be entered must not cost the
// looks at the others.
func (v *visitor[L]) visitOthers(wanted map[uint32]bool, runIn func(inode uint32, f func() error) error) (last error) {
	for inode := range wanted {
		if err := runIn(inode, func() error { return v.visit(inode) }); err != nil {
			last = capability.Explain(err, capability.SysAdmin)
		}
	}
	return last
}

// runIn runs f on a thread in a namespace. It does nothing when there is no way in: no process
// is inside, or the namespace has gone. Its sockets stay unread.
func (v *visitor[L]) runIn(inode uint32, f func() error) error {
	namespace, err := v.finder.open(inode)
	if err != nil {
		return nil //nolint:nilerr // nothing to report
	}
	defer namespace.Close()
	return namespace.Run(f)
}

// visit looks at the sockets of the thread's namespace.
func (v *visitor[L]) visit(inode uint32) error {
	err := hook.Each(&v.Iterator, func(l *L) { v.seen[any(l).(socketLook).Entry()] = *l })
	if err != nil {
		return fmt.Errorf("network namespace %d: %w", inode, err)
	}
	v.visited[inode] = true
	return nil
}

// read takes an entry for gone whose socket is not in its namespace. An entry that is younger
// than the visit counts as gone too, once.
func (v *visitor[L]) read(looks []L, netns []uint32) error {
	for i := range looks {
		l := any(&looks[i]).(socketLook)
		v.wanted[netns[i]] = true
		if seen, ok := v.seen[l.Entry()]; ok {
			looks[i] = seen
		} else if v.visited[netns[i]] {
			l.Finish(shared.LookOutcomeGone)
		}
	}
	return nil
}

func (v *visitor[L]) lacks() shortcoming {
	switch {
	case v.noEntry != nil:
		return shortcoming{gives: v.gives + " in other network namespaces", hook: netns.Hook, err: v.noEntry}
	case v.skipped != nil:
		return shortcoming{gives: v.gives + " in some other network namespaces", hook: netns.Hook, err: v.skipped}
	default:
		return shortcoming{}
	}
}

func (v *visitor[L]) program() *ebpf.Program { return v.Loaded() }

func (v *visitor[L]) close() error { return v.Close() }
