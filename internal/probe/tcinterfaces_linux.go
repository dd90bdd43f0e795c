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
	}
	return err
}

// present is false when a program that we attached is there no more.
func (i *tcInterface) present() bool {
	for _, hook := range i.hooks {
		if hook == nil {
			continue
		}
		if present, err := hook.present(); err == nil && !present {
			return false
		}
	}
	return true
}

// links lists the interfaces of the namespace by index.
func (v *tcVantage) links() (map[int]netlink.Link, error) {
	list, err := dumpWatched(v.netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	links := make(map[int]netlink.Link, len(list))
	for _, link := range list {
		links[link.Attrs().Index] = link
	}
	return links, nil
}

// updateAddresses tells the programs which addresses are ours, and whether to ask. Those
// of interfaces are there a little before their routes.
func (v *tcVantage) updateAddresses(links map[int]netlink.Link, list []netlink.Addr, err error) {
	local, routesErr := localRoutes()
	err = errors.Join(err, routesErr)
	if err == nil {
		for _, address := range list {
			if ip, ok := netip.AddrFromSlice(address.IP.To16()); ok {
				local[netip.PrefixFrom(ip, ip.BitLen())] = true
			}
		}
		var left int
		left, err = v.addresses.set(local)
		if left > 0 && !v.overflowing {
			v.logger.Warn("too many local addresses and prefixes: forwarded packets count as this host's",
				zap.Int("local", len(local)), zap.Int("without room", left))
		}
		v.overflowing = left > 0
	}
	known := err == nil && !v.overflowing
	check := known && foreignPackets(links)
	if err = errors.Join(err, v.setAddressesKnown(known), v.setLookFurther(check)); err != nil {
		v.logger.Warn("forwarded packets count as this host's", zap.Error(err))
	}
}

func (v *tcVantage) localAddresses() ([]netlink.Addr, error) {
	list, err := dumpWatched(func() ([]netlink.Addr, error) { return v.netlink.AddrList(nil, netlink.FAMILY_ALL) })
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
