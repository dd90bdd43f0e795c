// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

//lint:file-ignore U1000 staticcheck does not follow methods of generic types behind an interface

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// visitor looks at the sockets of whole network namespaces, those that have entries, and
// keeps what it saw until the entries are known. It may enter only with CAP_SYS_ADMIN.
type visitor[L any] struct {
	hook.Iterator
	own uint32
	// listening are the namespaces that have listeners.
	listening func() map[uint32]bool
	finder    *netNSFinder
	// gives is what is lost where it can't enter, noEntry why it can't.
	gives   string
	noEntry error
	// seen are the looks of this pass, by socket and entry.
	seen map[[2]uint64]L
	// visited are the namespaces of this pass, wanted those that had entries in it.
	visited, wanted map[uint32]bool
}

func newVisitor[L any](p *Probe, program, gives string) *visitor[L] {
	return &visitor[L]{
		Iterator:  hook.Iterator{Program: program, Point: "iter/tcp"},
		own:       p.decoder.ownNetNS,
		listening: func() map[uint32]bool { return p.decoder.listeners.namespaces() },
		finder:    newNetNSFinder(p.cfg.NetworkNamespaces),
		gives:     gives,
	}
}

func (v *visitor[L]) hook() string { return v.Point }

func (v *visitor[L]) load(o *objects) error {
	object, err := o.looks()
	if err = cmp.Or(err, o.host.NoBTF); err != nil {
		return err
	}
	v.noEntry = capability.Explain(mayEnterNetNS(o.host.Excluded), capability.SysAdmin)
	return v.Attach(object)
}

// begin visits the namespaces that have listeners, or had entries in the pass before.
func (v *visitor[L]) begin() error {
	wanted := v.wanted
	v.seen, v.visited, v.wanted = make(map[[2]uint64]L), make(map[uint32]bool), make(map[uint32]bool)
	if err := v.visit(v.own); err != nil || v.noEntry != nil {
		return err
	}
	for netns := range v.listening() {
		if wanted == nil {
			wanted = make(map[uint32]bool)
		}
		wanted[netns] = true
	}
	delete(wanted, v.own)
	v.finder.find(wanted)
	for netns := range wanted {
		namespace, err := v.finder.open(netns)
		if err != nil {
			continue // nobody is in it, or it has gone: its sockets stay unread
		}
		err = namespace.Run(func() error { return v.visit(netns) })
		namespace.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// visit looks at the sockets of the thread's namespace.
func (v *visitor[L]) visit(netns uint32) error {
	err := hook.Each(&v.Iterator, func(l *L) { v.seen[any(l).(socketLook).Entry()] = *l })
	if err != nil {
		return fmt.Errorf("network namespace %d: %w", netns, err)
	}
	v.visited[netns] = true
	return nil
}

// read takes an entry for gone whose socket is not in its namespace. One that came since
// the visit is so too, once.
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
	if v.noEntry == nil {
		return shortcoming{}
	}
	return shortcoming{gives: v.gives + " in other network namespaces", hook: netns.Hook, err: v.noEntry}
}

func (v *visitor[L]) program() *ebpf.Program { return v.Loaded() }

func (v *visitor[L]) close() error { return v.Close() }

// netNSFinder finds ways into network namespaces: a file, or a process or thread that is in
// one.
type netNSFinder struct {
	// patterns of files are in the order of what they cost.
	patterns []string
	// paths are by inode, "" where none was found.
	paths map[uint32]string
}

// newNetNSFinder looks where ip-netns and Docker keep their namespaces, too.
func newNetNSFinder(patterns []string) *netNSFinder {
	return &netNSFinder{
		patterns: append(slices.Clone(patterns), "/run/netns/*", "/run/docker/netns/*",
			"/proc/[1-9]*/ns/net", "/proc/[1-9]*/task/[1-9]*/ns/net"),
		paths: make(map[uint32]string),
	}
}

// find sees to it that there are paths to the namespaces that are wanted, and to no other. It
// seeks those that are new, and those whose path leads elsewhere by now.
func (f *netNSFinder) find(wanted map[uint32]bool) {
	maps.DeleteFunc(f.paths, func(inode uint32, path string) bool {
		there, err := netns.InodeAt(path)
		return !wanted[inode] || (path != "" && (err != nil || there != inode))
	})
	missing := make(map[uint32]bool)
	for netns := range wanted {
		if _, known := f.paths[netns]; !known {
			missing[netns] = true
			f.paths[netns] = ""
		}
	}
	for _, pattern := range f.patterns {
		if len(missing) == 0 {
			return
		}
		for netns, path := range netns.Find([]string{pattern}) {
			if missing[netns] {
				f.paths[netns] = path
				delete(missing, netns)
			}
		}
	}
}

var errNetNSNotFound = errors.New("no process and no file leads to the network namespace")

func (f *netNSFinder) open(inode uint32) (*netns.Namespace, error) {
	path := f.paths[inode]
	if path == "" {
		return nil, errNetNSNotFound
	}
	namespace, err := netns.Open(path)
	if err == nil && namespace.Inode != inode {
		namespace.Close()
		err = errNetNSNotFound
	}
	return namespace, err
}
