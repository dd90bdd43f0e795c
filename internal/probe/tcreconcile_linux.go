// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

// reconcile makes what is attached agree with what is there. The thread has to be in
// the namespace.
func (v *tcVantage) reconcile() {
	v.changing.Lock()
	defer v.changing.Unlock()
	defer v.attacher.lock.release()
	links, err := v.links()
	if err != nil {
		v.logger.Warn("interfaces are not followed", zap.Error(err))
		return
	}
	addresses, addressErr := v.localAddresses()
	v.selection.addressed = addressed(addresses)
	names := make(map[uint32]string, len(links))
	for index, link := range links {
		names[uint32(index)] = link.Attrs().Name
	}
	v.names.Store(&names)
	var left []*tcInterface
	for index, i := range v.interfaces {
		if link, ok := links[index]; !ok || !v.keeps(i, link, links) || !v.inPlace(i) {
			left = append(left, i)
		}
	}
	v.drop(left)
	v.forgetFailures(links)
	// Before programs can call a packet forwarded.
	v.updateAddresses(links, addresses, addressErr)
	v.add(v.missing(links))
}

// missing are the interfaces that are selected and not attached to, oldest first.
func (v *tcVantage) missing(links map[int]netlink.Link) (missing []netlink.Link) {
	for _, index := range slices.Sorted(maps.Keys(links)) {
		if v.interfaces[index] == nil && v.selection.selects(links[index], links) {
			missing = append(missing, links[index])
		}
	}
	return missing
}

func (v *tcVantage) forgetFailures(links map[int]netlink.Link) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for index := range v.failures {
		if link, ok := links[index]; !ok || !v.selection.selects(link, links) {
			delete(v.failures, index)
		}
	}
}

// keeps follows a change of name, which may be one out of the selection.
func (v *tcVantage) keeps(i *tcInterface, link netlink.Link, links map[int]netlink.Link) bool {
	if name := link.Attrs().Name; name != i.name {
		v.mu.Lock()
		v.retire(i)
		i.name = name
		v.mu.Unlock()
	}
	return v.selection.selects(link, links)
}

// retire books what was counted so far under the interface's name. It is for callers
// that hold mu.
func (v *tcVantage) retire(i *tcInterface) {
	if i.slot == 0 {
		return
	}
	total, err := v.counts.read(i.slot)
	if err != nil {
		v.logger.Warn("packet counters are lost", zap.String("interface", i.name), zap.Error(err))
		return
	}
	counted := *total
	counted.subtract(&i.before)
	v.counts.keep(i.name, &counted)
	i.before = *total
}

func (v *tcVantage) drop(interfaces []*tcInterface) {
	err := v.detachFrom(interfaces)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, i := range interfaces {
		v.retire(i)
		err = errors.Join(err, v.counts.release(i.index, i.slot))
		delete(v.interfaces, i.index)
	}
	if err != nil {
		v.logger.Warn("leaving interfaces", zap.Error(err))
	}
}

// detachFrom leaves the interfaces in their place, with what they counted.
func (v *tcVantage) detachFrom(interfaces []*tcInterface) error {
	var all error
	for _, i := range interfaces {
		all = errors.Join(all, i.detach())
		v.mu.Lock()
		i.hooks = [tcDirections]tcHook{}
		v.mu.Unlock()
	}
	return all
}

// add attaches to interfaces, one after the other: on TCX the kernel waits for an RCU
// grace period per program with its rtnl lock held (tcx_entry_sync), so side by side
// would take as long, and keep others from that lock for longer.
func (v *tcVantage) add(links []netlink.Link) {
	for _, link := range links {
		if v.stopBy.Load() != nil || (v.options.trial && len(v.interfaces) > 0) {
			return
		}
		i := &tcInterface{index: link.Attrs().Index, name: link.Attrs().Name}
		err := v.attach(i, linkHeaders(link))
		v.enter(i, err)
	}
}

func (v *tcVantage) attach(i *tcInterface, begin headers) error {
	if begin == headersUnknown {
		return fmt.Errorf("attach tc to %s: %w", i.name, errLinkType)
	}
	if err := v.assign(i); err != nil {
		return fmt.Errorf("attach tc to %s: %w", i.name, err)
	}
	for d := range tcDirections {
		prog, err := v.program(d, begin)
		if err != nil {
			return fmt.Errorf("attach tc %s to %s: %w", d, i.name, err)
		}
		hook, err := v.attacher.attach(i.index, d, prog)
		if err != nil {
			return fmt.Errorf("attach tc %s to %s: %w", d, i.name, capability.Explain(err, capability.NetAdmin))
		}
		i.hooks[d] = hook
	}
	return nil
}

func (v *tcVantage) assign(i *tcInterface) (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i.slot, err = v.counts.assign(i.index)
	return err
}

// enter shows an interface that is attached to, in one direction at least. A failure is
// reported once; the next change tries again. One that vanished meanwhile is no failure.
func (v *tcVantage) enter(i *tcInterface, err error) {
	attached := err == nil || errors.Is(err, errNoEgress)
	if !attached {
		err = errors.Join(err, i.detach())
	}
	vanished := !attached && v.vanished(i.index)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mode = v.attacher.mode
	if attached {
		v.interfaces[i.index] = i
	} else {
		err = errors.Join(err, v.counts.release(i.index, i.slot))
	}
	if vanished {
		delete(v.failures, i.index)
		v.logger.Debug("an interface vanished before its packets were counted", zap.String("interface", i.name), zap.Error(err))
		return
	}
	if err == nil {
		delete(v.failures, i.index)
		if v.options.trial {
			clear(v.failures)
		}
		v.logger.Debug("looking at packets", zap.String("interface", i.name), zap.String("hook", string(v.mode)))
		return
	}
	// A missing capability is the same for all interfaces: the hooks say so once.
	var refused *capability.Refusal
	if v.failures[i.index] == nil && !errors.As(err, &refused) {
		v.logger.Warn("packets of an interface are not counted, or in one direction only", zap.String("interface", i.name), zap.Error(err))
	}
	v.failures[i.index] = err
}

// vanished asks the kernel: what a step of attaching says of an interface that is gone
// differs from step to step, and may have other causes.
func (v *tcVantage) vanished(index int) bool {
	var notFound netlink.LinkNotFoundError
	_, err := v.netlink.LinkByIndex(index)
	return errors.As(err, &notFound)
}

// errLinkType: no program is for such a device, and none will be while it is there.
var errLinkType = errors.New("link type is neither Ethernet nor bare IP")

// tcRetry is the time until interfaces that could not be attached to are tried again.
const tcRetry = 10 * time.Second

// lacksHooks: somebody detached a TCX link of ours, or it is time to try again what could
// not be attached.
func (v *tcVantage) lacksHooks() bool {
	v.changing.Lock()
	defer v.changing.Unlock()
	if v.attacher.mode == TCX {
		for _, i := range v.interfaces {
			if !i.present() {
				return true
			}
		}
	}
	now := time.Now()
	if now.Before(v.tryAgain) {
		return false
	}
	v.tryAgain = now.Add(tcRetry)
	for index, err := range v.failures {
		if v.interfaces[index] == nil && !errors.Is(err, errLinkType) {
			return true
		}
	}
	return false
}

// inPlace is false when somebody removed a program of ours, as with a qdisc that was
// theirs to remove.
func (v *tcVantage) inPlace(i *tcInterface) bool {
	if i.present() {
		return true
	}
	if !v.vanished(i.index) {
		v.removed.report(v.logger, i.name)
	}
	return false
}

// tcRemovals reports programs of ours that somebody removed: at once, then once in a
// while, for there are agents that do it all the time.
type tcRemovals struct {
	interfaces int
	next       time.Time
}

const tcRemovalsPause = time.Minute

func (r *tcRemovals) report(logger *zap.Logger, name string) {
	r.interfaces++
	if time.Now().Before(r.next) {
		return
	}
	logger.Info("somebody removed our programs from an interface; attaching them again",
		zap.Int("interfaces since the last message", r.interfaces), zap.String("interface", name))
	r.interfaces, r.next = 0, time.Now().Add(tcRemovalsPause)
}
