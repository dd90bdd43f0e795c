// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"errors"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
)

// reconcile attaches and detaches so that it agrees with the namespace. The thread is in the
// namespace.
func (m *Manager) reconcile() {
	view, err := m.look()
	if err != nil {
		m.log().Warn("interface changes cannot be followed", zap.Error(err))
		return
	}
	names := make(map[uint32]string, len(view.Links))
	for index, link := range view.Links {
		names[uint32(index)] = link.Attrs().Name
	}
	m.names.Store(&names)
	for _, a := range m.programs {
		a.leave(view)
	}
	for _, a := range m.programs {
		if a.Follower != nil {
			a.Follower.Look(view)
		}
	}
	for _, a := range m.programs {
		a.attachMissing(view)
	}
}

// vanished asks the kernel. Errors of attaching to an interface that is gone differ from step
// to step, and can have other causes.
func (m *Manager) vanished(index int) bool {
	var notFound netlink.LinkNotFoundError
	_, err := m.netlink.LinkByIndex(index)
	return errors.As(err, &notFound)
}

// errLinkType means that no program is for such a device.
var errLinkType = errors.New("link type is neither Ethernet nor bare IP")

// retry is the time between two tries to attach to an interface.
const retry = 10 * time.Second

// lacksHooks reports whether another process detached a TCX link of ours, or whether a
// failure is due again.
func (m *Manager) lacksHooks() bool {
	m.changing.Lock()
	defer m.changing.Unlock()
	for _, a := range m.programs {
		if a.mode != TCX {
			continue // the kernel sends messages about filters
		}
		for _, i := range a.interfaces {
			if !i.present() {
				return true
			}
		}
	}
	now := time.Now()
	if now.Before(m.tryAgain) {
		return false
	}
	m.tryAgain = now.Add(retry)
	for _, a := range m.programs {
		for index, err := range a.failures {
			if a.interfaces[index] == nil && !errors.Is(err, errLinkType) {
				return true
			}
		}
	}
	return false
}

// removals reports programs of ours that another process removed: at once, then at intervals,
// because some agents do it all the time.
type removals struct {
	interfaces int
	next       time.Time
}

const removalsPause = time.Minute

func (r *removals) report(logger *zap.Logger, program, name string) {
	r.interfaces++
	if time.Now().Before(r.next) {
		return
	}
	logger.Info("another process removed our programs from an interface; attaching them again",
		zap.Int("interfaces since the last message", r.interfaces), zap.String("interface", name), zap.String("program", program))
	r.interfaces, r.next = 0, time.Now().Add(removalsPause)
}
