// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package local

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// Look sets the local addresses. known reports whether the programs have them all, check
// whether packets of others pass, so that the programs have to look them up.
func (t *Table) Look(view *tc.View) (known, check bool, err error) {
	local, err := view.Local()
	if err == nil {
		var left int
		left, err = t.Set(local)
		if left > 0 && !t.overflowing {
			t.logger.Warn("too many local addresses and prefixes: forwarded packets count as this host's",
				zap.Int("local", len(local)), zap.Int("without room", left))
		}
		t.overflowing = left > 0
	}
	known = err == nil && !t.overflowing
	return known, known && foreignPackets(view.Links), err
}

// foreignPackets reports whether packets of others pass, by forwarding or otherwise.
func foreignPackets(links map[int]netlink.Link) bool {
	for _, link := range links {
		if seesForeignPackets(link) {
			return true
		}
	}
	files, _ := filepath.Glob("/proc/sys/net/ipv[46]/conf/*/forwarding")
	for _, file := range files {
		value, err := os.ReadFile(file)
		if err == nil && !bytes.Equal(bytes.TrimSpace(value), []byte("0")) {
			return true
		}
	}
	return false
}

// seesForeignPackets reports whether packets for other addresses pass even without
// forwarding.
func seesForeignPackets(link netlink.Link) bool {
	onAnother := []string{"macvlan", "macvtap", "ipvlan", "ipvtap"}
	return slices.Contains(onAnother, link.Type()) || link.Attrs().Promisc > 0
}
