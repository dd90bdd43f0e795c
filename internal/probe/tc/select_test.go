// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package tc

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// linkMessage is what the kernel reports about a device in RTM_NEWLINK, for devices that no
// test can make.
type linkMessage struct {
	index  int
	name   string
	kind   string // "" is a device without a kind: a NIC
	master int
	// peerNetNS is the id of the namespace of the pair's other end.
	peerNetNS *int32
	// primary is reported for netkit devices only.
	primary *uint8
}

func (m linkMessage) link(t *testing.T) netlink.Link {
	t.Helper()
	head := nl.NewIfInfomsg(unix.AF_UNSPEC)
	head.Index, head.Type = int32(m.index), unix.ARPHRD_ETHER
	message := head.Serialize()
	add := func(attribute *nl.RtAttr) { message = append(message, attribute.Serialize()...) }
	add(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(m.name)))
	if m.master != 0 {
		add(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(m.master))))
	}
	if m.peerNetNS != nil {
		add(nl.NewRtAttr(unix.IFLA_LINK_NETNSID, nl.Uint32Attr(uint32(*m.peerNetNS))))
	}
	if m.kind != "" {
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.ZeroTerminated(m.kind))
		if m.primary != nil {
			data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
			data.AddRtAttr(nl.IFLA_NETKIT_PRIMARY, []byte{*m.primary})
		}
		add(info)
	}
	link, err := netlink.LinkDeserialize(nil, message)
	require.NoError(t, err)
	require.Equal(t, m.name, link.Attrs().Name)
	require.Equal(t, m.master, link.Attrs().MasterIndex)
	return link
}

// tcSelected lists the interfaces that "*" selects, by name.
func selected(t *testing.T, addressed map[int]bool, messages ...linkMessage) []string {
	t.Helper()
	view := &View{Links: make(map[int]netlink.Link, len(messages)), addressed: addressed}
	for _, m := range messages {
		view.Links[m.index] = m.link(t)
	}
	var s Selection
	var names []string
	for _, m := range messages {
		if s.selects(view.Links[m.index], view) {
			names = append(names, m.name)
		}
	}
	return names
}

func TestSelectsTheMasterOfAnyKind(t *testing.T) {
	for _, kind := range []string{"", "bridge", "bond", "team", "openvswitch", "batadv", "failover", "new in 2030"} {
		assert.Equal(t, []string{"eth0"}, selected(t, nil,
			linkMessage{index: 2, name: "eth0", kind: kind},
			linkMessage{index: 3, name: "enP1s1", master: 2},
		), "a VF below a master of kind %q", kind)
	}
	assert.Equal(t, []string{"red", "eth1"}, selected(t, nil,
		linkMessage{index: 2, name: "red", kind: "vrf"},
		linkMessage{index: 3, name: "eth1", master: 2},
	), "members of a VRF are interfaces in their own right")
	assert.Empty(t, selected(t, nil, linkMessage{index: 3, name: "eth1", master: 9}), "the master is in another namespace")
}

func TestSelectsOneEndOfAPair(t *testing.T) {
	other, yes, no := int32(0), uint8(1), uint8(0)
	addressed := map[int]bool{7: true}
	assert.Equal(t, []string{"addressed", "eth0", "here", "also-here"}, selected(t, addressed,
		linkMessage{index: 5, name: "host-veth", kind: "veth", peerNetNS: &other},
		linkMessage{index: 6, name: "host-netkit", kind: "netkit", peerNetNS: &other, primary: &yes},
		linkMessage{index: 7, name: "addressed", kind: "netkit", peerNetNS: &other, primary: &yes},
		linkMessage{index: 8, name: "eth0", kind: "netkit", peerNetNS: &other, primary: &no},
		linkMessage{index: 9, name: "here", kind: "netkit", primary: &yes},
		linkMessage{index: 10, name: "also-here", kind: "netkit", primary: &no},
	))
}
