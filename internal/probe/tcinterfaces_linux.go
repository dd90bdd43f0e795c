// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
)

// tcInterface is an interface that the programs are attached to.
type tcInterface struct {
	index int
	name  string
	hooks [tcDirections]tcHook
	slot  uint32
	// before is what was counted under an earlier name.
	before tcTotals
}

// detach takes the last attached off first: the first one's qdisc is then empty.
func (i *tcInterface) detach() error {
	var err error
	for d := tcDirections - 1; d >= 0; d-- {
		if i.hooks[d] == nil {
			continue
		}
		if detachErr := i.hooks[d].detach(); detachErr != nil {
			err = errors.Join(err, fmt.Errorf("detach tc %s from %s: %w", d, i.name, detachErr))
		}
		i.hooks[d] = nil
	}
	return err
}

// maxDumps bounds how often a list is read again that changed while it was read.
const maxDumps = 5

// links lists the interfaces of the namespace by index.
func (v *tcVantage) links() (map[int]netlink.Link, error) {
	var list []netlink.Link
	var err error
	for range maxDumps {
		list, err = v.netlink.LinkList()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	links := make(map[int]netlink.Link, len(list))
	for _, link := range list {
		links[link.Attrs().Index] = link
	}
	return links, nil
}

// reconcile makes what is attached agree with what is there.
func (v *tcVantage) reconcile() {
	v.mu.Lock()
	defer v.mu.Unlock()
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
	for index, i := range v.interfaces {
		if link, ok := links[index]; !ok || !v.keeps(i, link, links) || !v.inPlace(i) {
			v.drop(i)
		}
	}
	for index := range v.failures {
		if link, ok := links[index]; !ok || !v.selection.selects(link, links) {
			delete(v.failures, index)
		}
	}
	// Before programs can call a packet forwarded.
	v.updateAddresses(links, addresses, addressErr)
	for index, link := range links {
		if v.interfaces[index] == nil && v.selection.selects(link, links) {
			v.add(link)
		}
	}
}

// keeps follows a change of name, which may be one out of the selection.
func (v *tcVantage) keeps(i *tcInterface, link netlink.Link, links map[int]netlink.Link) bool {
	if name := link.Attrs().Name; name != i.name {
		v.retire(i)
		i.name = name
	}
	return v.selection.selects(link, links)
}

// retire books what was counted so far under the interface's name.
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

func (v *tcVantage) drop(i *tcInterface) {
	err := i.detach()
	v.retire(i)
	if err = errors.Join(err, v.counts.release(i.index, i.slot)); err != nil {
		v.logger.Warn("leaving an interface", zap.String("interface", i.name), zap.Error(err))
	}
	delete(v.interfaces, i.index)
}

// add attaches to one interface; a failure is reported once and tried again with
// the next change.
func (v *tcVantage) add(link netlink.Link) {
	attrs := link.Attrs()
	i := &tcInterface{index: attrs.Index, name: attrs.Name}
	err := v.attach(i, linkHeaders(link))
	if err == nil || errors.Is(err, errNoEgress) {
		v.interfaces[i.index] = i
	}
	if err == nil {
		delete(v.failures, i.index)
		v.logger.Debug("looking at packets", zap.String("interface", i.name), zap.String("hook", string(v.attacher.mode)))
		return
	}
	if v.interfaces[i.index] == nil {
		err = errors.Join(err, i.detach(), v.counts.release(i.index, i.slot))
	}
	// A missing capability is the same for all interfaces: the hooks say so once.
	var refused *refusal
	if v.failures[i.index] == nil && !errors.As(err, &refused) {
		v.logger.Warn("packets of an interface are not looked at, or in one direction only", zap.String("interface", i.name), zap.Error(err))
	}
	v.failures[i.index] = err
}

func (v *tcVantage) attach(i *tcInterface, begin headers) error {
	if begin == headersUnknown {
		return fmt.Errorf("attach tc to %s: link type is neither Ethernet nor bare IP", i.name)
	}
	var err error
	if i.slot, err = v.counts.assign(i.index); err != nil {
		return fmt.Errorf("attach tc to %s: %w", i.name, err)
	}
	for d := range tcDirections {
		prog, err := v.program(d, begin)
		if err != nil {
			return fmt.Errorf("attach tc %s to %s: %w", d, i.name, err)
		}
		if i.hooks[d], err = v.attacher.attach(i.index, d, prog); err != nil {
			i.hooks[d] = nil
			return fmt.Errorf("attach tc %s to %s: %w", d, i.name, hint(err, CapNetAdmin))
		}
	}
	return nil
}

// updateAddresses tells the programs which addresses are ours, and whether to ask.
func (v *tcVantage) updateAddresses(links map[int]netlink.Link, list []netlink.Addr, err error) {
	addresses := make(map[netip.Addr]bool, len(list))
	for _, address := range list {
		if ip, ok := netip.AddrFromSlice(address.IP.To16()); ok {
			addresses[ip] = true
		}
	}
	if err == nil {
		var left int
		left, err = v.addresses.set(addresses)
		if left > 0 && !v.overflowing {
			v.logger.Warn("too many local addresses: forwarded packets count as this host's",
				zap.Int("addresses", len(addresses)), zap.Int("without room", left))
		}
		v.overflowing = left > 0
	}
	check := uint32(0)
	if err == nil && !v.overflowing && foreignPackets(links) {
		check = 1
	}
	if err = errors.Join(err, v.objects.Variables["check_local_address"].Set(check)); err != nil {
		v.logger.Warn("forwarded packets count as this host's", zap.Error(err))
	}
}

func (v *tcVantage) localAddresses() ([]netlink.Addr, error) {
	var list []netlink.Addr
	var err error
	for range maxDumps {
		list, err = v.netlink.AddrList(nil, netlink.FAMILY_ALL)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list the local addresses: %w", err)
	}
	return list, nil
}

// addressed are the interfaces that others can reach at an address.
func addressed(list []netlink.Addr) map[int]bool {
	interfaces := make(map[int]bool)
	for _, address := range list {
		if address.IP.IsGlobalUnicast() {
			interfaces[address.LinkIndex] = true
		}
	}
	return interfaces
}

// foreignPackets: the host forwards, or sees what is for others by other means.
func foreignPackets(links map[int]netlink.Link) bool {
	for _, link := range links {
		if seesForeignPackets(link) {
			return true
		}
	}
	for _, pattern := range []string{
		"/proc/sys/net/ipv4/conf/*/forwarding",
		"/proc/sys/net/ipv6/conf/*/forwarding",
	} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			value, err := os.ReadFile(file)
			if err == nil && !bytes.Equal(bytes.TrimSpace(value), []byte("0")) {
				return true
			}
		}
	}
	return false
}
