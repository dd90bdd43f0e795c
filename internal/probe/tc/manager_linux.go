// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc/attach"
)

// Manager attaches programs in one network namespace. A goroutine follows the interfaces
// from the first program on.
type Manager struct {
	registry *Registry
	// users is how many opened the manager; the registry guards it.
	users int

	// namespace and the netlink sockets keep the namespace alive while it is followed.
	namespace *netns.Namespace
	netlink   *netlink.Handle
	watch     *watch
	done      chan struct{}
	unfollow  sync.Once
	attacher  *attach.Attacher

	// changing serializes attaching and detaching. It is held during waits for the kernel
	// and for other instances, which take seconds if many interfaces come at once. It
	// guards what only changes need, and is taken before mu.
	changing sync.Mutex
	// searched is set once the filters of dead instances are removed.
	searched bool
	// tryAgain is when interfaces are due again where attaching failed.
	tryAgain time.Time
	removals removals

	// mu guards what States and others read. Nothing waits while it is held. A change
	// writes with both held, so it reads with either.
	mu sync.Mutex
	// programs are in the order in which they run.
	programs []*Attached

	// names of all interfaces by index; read while a change is under way.
	names atomic.Pointer[map[uint32]string]
}

// Open returns the manager of a namespace and takes the namespace over. Each user closes the
// manager once.
func (r *Registry) Open(namespace *netns.Namespace) (*Manager, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.managers[namespace.Inode]; m != nil {
		namespace.Close()
		m.users++
		return m, nil
	}
	m := &Manager{registry: r, users: 1, namespace: namespace}
	if err := namespace.Run(m.open); err != nil {
		m.release()
		return nil, err
	}
	m.attacher = attach.New(m.netlink, attach.Options{Warn: m.warn, Late: m.late, LeaveDead: r.trial})
	if r.managers == nil {
		r.managers = make(map[uint32]*Manager)
	}
	r.managers[namespace.Inode] = m
	return m, nil
}

// open creates the sockets, which stay in the namespace.
func (m *Manager) open() (err error) {
	if m.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	// Before the first reading, so that no change falls between the two.
	m.watch, err = newWatch()
	return err
}

// Close ends the use of the manager. The user removes its programs before.
func (m *Manager) Close() error {
	r := m.registry
	r.mu.Lock()
	m.users--
	last := m.users == 0
	if last {
		r.forget(m)
	}
	r.mu.Unlock()
	if !last {
		return nil
	}
	err := m.stopFollowing()
	m.changing.Lock()
	defer m.changing.Unlock()
	m.release()
	return err
}

// forget is for callers that hold the registry's lock.
func (r *Registry) forget(m *Manager) {
	if r.managers[m.namespace.Inode] == m {
		delete(r.managers, m.namespace.Inode)
	}
}

// stopFollowing waits for the end of the current change.
func (m *Manager) stopFollowing() (err error) {
	m.unfollow.Do(func() {
		err = m.watch.close()
		if m.done != nil {
			<-m.done
		}
	})
	return err
}

// release closes what keeps the namespace alive. It may be called twice.
func (m *Manager) release() {
	if m.attacher != nil {
		m.attacher.Close()
	}
	if m.netlink != nil {
		m.netlink.Close()
		m.netlink = nil
	}
	if m.namespace != nil {
		m.namespace.Close()
	}
}

// Check returns a NoInterfaceError for an interface that a selection names and the namespace
// lacks, and the globs that match none.
func (m *Manager) Check(s *Selection) (idle []string, err error) {
	err = m.namespace.Run(func() error {
		view, err := m.look()
		if err == nil {
			idle, err = s.checkNames(view.Links)
		}
		return err
	})
	return idle, err
}

// Add attaches a program to the existing interfaces, and follows new ones. States reports
// refusals.
func (m *Manager) Add(p *Program) (*Attached, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	a := m.enlist(p)
	err := m.namespace.Run(func() error {
		defer m.attacher.Release()
		m.reconcile()
		if !m.registry.trial && !m.searched {
			m.searched = true
			m.removeDead()
		}
		return nil
	})
	if err != nil {
		m.delist(a)
		return nil, err
	}
	if m.done == nil && !m.registry.trial {
		m.done = make(chan struct{})
		go m.follow(m.done)
	}
	return a, nil
}

// enlist puts a program in its place: behind those of the same order.
func (m *Manager) enlist(p *Program) *Attached {
	a := &Attached{
		Program:    *p,
		manager:    m,
		mode:       p.Mode,
		interfaces: make(map[int]*place),
		failures:   make(map[int]error),
	}
	if a.Logger == nil {
		a.Logger = zap.NewNop()
	}
	taken := func() bool {
		return slices.ContainsFunc(m.programs, func(other *Attached) bool { return other.Name == a.Name })
	}
	for n := 2; taken(); n++ { // two components of one kind
		a.Name = fmt.Sprintf("%s%d", p.Name, n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at, _ := slices.BinarySearchFunc(m.programs, a.Order, func(other *Attached, order int) int {
		if other.Order <= order {
			return -1
		}
		return 1
	})
	m.programs = slices.Insert(m.programs, at, a)
	return a
}

func (m *Manager) delist(a *Attached) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.programs = slices.DeleteFunc(m.programs, func(other *Attached) bool { return other == a })
}

func (m *Manager) follow(done chan<- struct{}) {
	defer close(done)
	changed := func() {
		if err := m.reconcileInside(); err != nil {
			m.log().Warn("a change of interfaces could not be followed", zap.Error(err))
		}
	}
	err := m.watch.run(changed, func() {
		if m.lacksHooks() {
			changed()
		}
	})
	if err != nil {
		m.log().Error("no longer watching for new interfaces", zap.Error(err))
	}
}

// reconcileInside enters the namespace: TCX attaches by an interface index of the thread's
// namespace, and /proc/sys/net is the thread's, too.
func (m *Manager) reconcileInside() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	if len(m.programs) == 0 {
		return nil
	}
	return m.namespace.Run(func() error {
		defer m.attacher.Release()
		m.reconcile()
		return nil
	})
}

// log returns the logger of the first program, because messages about the namespace appear
// once.
func (m *Manager) log() *zap.Logger {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.programs) == 0 {
		return zap.NewNop()
	}
	return m.programs[0].Logger
}

func (m *Manager) warn(message string, fields ...zap.Field) { m.log().Warn(message, fields...) }

// late reports whether a program has to leave and its time is over.
func (m *Manager) late() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.programs, func(a *Attached) bool {
		limit := a.stopBy.Load()
		return limit != nil && time.Now().After(*limit)
	})
}

// InterfaceName returns "" for an interface that is gone.
func (m *Manager) InterfaceName(index uint32) string {
	if names := m.names.Load(); names != nil {
		return (*names)[index]
	}
	return ""
}

// around are the hooks of our other programs at one place: those that run before a program,
// and those that run after it, in the order in which they run.
func (m *Manager) around(a *Attached, index int, d Direction) (before, after []attach.Hook) {
	passed := false
	for _, other := range m.programs {
		i := other.interfaces[index]
		switch {
		case other == a:
			passed = true
		case i == nil || i.hooks[d] == nil:
		case passed:
			after = append(after, i.hooks[d])
		default:
			before = append(before, i.hooks[d])
		}
	}
	return before, after
}

// modeOf says where a program attaches. An Auto program follows those before it.
func (m *Manager) modeOf(a *Attached) Mode {
	if a.mode != Auto {
		return a.mode
	}
	for _, other := range m.programs {
		if other != a && (other.mode == TCX || other.mode == Clsact) && len(other.interfaces) > 0 {
			return other.mode
		}
	}
	return Auto
}

// removeDead logs what it removed, because it shows that an instance crashed. It also names
// instances that seem alive, because any process can hold the name of a dead one.
func (m *Manager) removeDead() {
	err := m.attacher.RemoveDead()
	if removed := m.attacher.Removed(); removed > 0 {
		m.log().Info("removed the filters of dead instances", zap.Int("filters", removed))
	}
	if living := m.attacher.Living(); len(living) > 0 {
		m.log().Info("keeping the filters of other instances, whose sockets are held", zap.Strings("sockets", living))
	}
	if err != nil {
		m.log().Warn("filters of dead instances may remain", zap.Error(err))
	}
}
