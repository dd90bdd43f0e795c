// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"encoding/binary"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// sendFrames sends frames as they are from a device of the peer.
func sendFrames(t *testing.T, p *wire.Peer, device string, virtio []byte, frames ...[]byte) {
	t.Helper()
	p.In(func() { wire.Send(t, device, virtio, frames...) })
}

// startBench attaches to interfaces of the current namespace.
func startBench(t *testing.T, cfg settings.Config) *bench {
	t.Helper()
	needMode(t, cfg.TCMode)
	b := openBench(t, cfg)
	require.NoError(t, b.start())
	for _, hook := range b.hooks() {
		require.NoError(t, hook.Err)
	}
	b.listen(wire.ServerPort, true)
	return b
}

func openBench(t *testing.T, cfg settings.Config) *bench {
	t.Helper()
	b := newBench(t, cfg)
	require.NoError(t, b.close())
	b.namespace = newNamespace(b.options, testNetNS, b.ports, b.logger)
	live := b.namespace
	t.Cleanup(func() { require.NoError(t, live.close()) })
	return b
}

func included(names ...string) func(*settings.Config) {
	return func(c *settings.Config) { c.IncludeInterfaces, c.ExcludeInterfaces = names, []string{"lo"} }
}

func mode(m settings.TCMode) func(*settings.Config) { return func(c *settings.Config) { c.TCMode = m } }

// attachedTo lists the names of the interfaces with both programs.
func (b *bench) attachedTo() []string {
	return b.attached.Interfaces()
}

func (b *bench) eventuallyAttachedTo(names ...string) {
	b.t.Helper()
	require.Eventuallyf(b.t, func() bool { return slices.Equal(b.attachedTo(), names) },
		5*time.Second, 5*time.Millisecond, "want %v", names)
}

// of is the count of one interface and direction.
func (b *bench) of(name string, egress bool) packet.Interface {
	b.t.Helper()
	for _, one := range b.counters() {
		if one.Name == name && one.Egress == egress {
			return one
		}
	}
	return packet.Interface{}
}

func tcxPrograms(t *testing.T, index int) (n int) {
	t.Helper()
	for _, attach := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		result, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: attach})
		if !tcxSupported() {
			return 0
		}
		require.NoError(t, err)
		n += len(result.Programs)
	}
	return n
}

// tcxSupported is false before 6.6, where a query for settings.TCX makes no sense.
func tcxSupported() bool {
	_, err := link.QueryPrograms(link.QueryOptions{Target: loopbackIndex, Attach: ebpf.AttachTCXIngress})
	return err == nil
}

func clsactOf(t *testing.T, device netlink.Link) (n int) {
	t.Helper()
	qdiscs, err := netlink.QdiscList(device)
	require.NoError(t, err)
	for _, qdisc := range qdiscs {
		if qdisc.Type() == "clsact" {
			n++
		}
	}
	return n
}

// clsact is what an agent makes that attaches filters.
func clsact(index int) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

func filtersOf(t *testing.T, device netlink.Link) (names []string) {
	t.Helper()
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := netlink.FilterList(device, parent)
		require.NoError(t, err)
		for _, filter := range filters {
			names = append(names, filter.(*netlink.BpfFilter).Name)
		}
	}
	return names
}

func TestTCFollowsInterfaces(t *testing.T) {
	for _, m := range []settings.TCMode{settings.TCX, settings.TCClsact} {
		t.Run(string(m), func(t *testing.T) {
			needMode(t, m)
			wire.Enter(t)
			other := wire.NewPeer(t)
			other.Veth(t, "early")
			b := startBench(t, config(mode(m), included("early*", "late*", "rename*")))
			assert.Equal(t, []string{"early"}, b.attachedTo())
			other.Veth(t, "late")
			b.eventuallyAttachedTo("early", "late")

			late, err := netlink.LinkByName("late")
			require.NoError(t, err)
			sendFrames(t, other, "peer-late", nil, wire.Ordinary(t))
			require.Eventually(t, func() bool { return b.of("late", false).Packets[packet.Data] == 1 }, 5*time.Second, time.Millisecond)

			require.NoError(t, netlink.LinkSetDown(late))
			require.NoError(t, netlink.LinkSetName(late, "renamed"))
			require.NoError(t, netlink.LinkSetUp(late))
			b.eventuallyAttachedTo("early", "renamed")
			other.EventuallyUp(t, "peer-late")
			sendFrames(t, other, "peer-late", nil, wire.Ordinary(t), wire.Ordinary(t))
			require.Eventually(t, func() bool { return b.of("renamed", false).Packets[packet.Data] == 2 }, 5*time.Second, time.Millisecond)
			assert.EqualValues(t, 1, b.of("late", false).Packets[packet.Data], "what was counted keeps its name")

			require.NoError(t, netlink.LinkDel(late))
			b.eventuallyAttachedTo("early")
			assert.EqualValues(t, 2, b.of("renamed", false).Packets[packet.Data], "totals never fall")
			other.Veth(t, "late")
			b.eventuallyAttachedTo("early", "late")
			sendFrames(t, other, "peer-late", nil, wire.Ordinary(t))
			require.Eventually(t, func() bool { return b.of("late", false).Packets[packet.Data] == 2 }, 5*time.Second, time.Millisecond)
			for _, hook := range b.hooks() {
				assert.True(t, hook.Attached)
				assert.Contains(t, hook.Name, string(m)+"/")
			}

			early, err := netlink.LinkByName("early")
			require.NoError(t, err)
			require.NoError(t, b.detach())
			assert.Zero(t, tcxPrograms(t, early.Attrs().Index))
			assert.Zero(t, clsactOf(t, early))
			assert.EqualValues(t, 2, b.of("late", false).Packets[packet.Data], "counters can still be read")
		})
	}
}

func TestTCLeavesOthersAlone(t *testing.T) {
	wire.Enter(t)
	wire.NewPeer(t).Veth(t, "shared")
	device, err := netlink.LinkByName("shared")
	require.NoError(t, err)
	foreign := func() *netlink.BpfFilter {
		prog := newBench(t, config()).objects.Programs["tc_ingress_eth"]
		return &netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{
				LinkIndex: device.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS,
				Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1,
			},
			Fd: prog.FD(), Name: "foreign", DirectAction: true,
		}
	}
	{ // their qdisc
		require.NoError(t, netlink.QdiscAdd(clsact(device.Attrs().Index)))
		first := startBench(t, config(mode(settings.TCClsact), included("shared"), func(c *settings.Config) { c.TCFirst = true }))
		second := startBench(t, config(mode(settings.TCClsact), included("shared")))
		assert.Len(t, filtersOf(t, device), 4)
		require.NoError(t, first.detach())
		assert.Len(t, filtersOf(t, device), 2)
		require.NoError(t, second.detach())
		assert.Equal(t, 1, clsactOf(t, device))
		require.NoError(t, netlink.QdiscDel(clsact(device.Attrs().Index)))
	}
	{ // their filter on our qdisc
		b := startBench(t, config(mode(settings.TCClsact), included("shared"), func(c *settings.Config) { c.TCFirst = true }))
		require.NoError(t, netlink.FilterAdd(foreign()))
		assert.Len(t, filtersOf(t, device), 3)
		require.NoError(t, b.detach())
		assert.Equal(t, []string{"foreign"}, filtersOf(t, device))
	}
}

func TestTCSelectsInterfaces(t *testing.T) {
	wire.Enter(t)
	other := wire.NewPeer(t)
	require.NoError(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge"}}))
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "member"}, PeerName: "free"}
	require.NoError(t, netlink.LinkAdd(pair))
	member, err := netlink.LinkByName("member")
	require.NoError(t, err)
	bridge, err := netlink.LinkByName("bridge")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetMaster(member, bridge))
	other.Veth(t, "hostside")
	hostSide, err := netlink.LinkByName("hostside")
	require.NoError(t, err)
	address, err := netlink.ParseAddr("192.0.2.1/24")
	require.NoError(t, err)
	require.NoError(t, netlink.AddrDel(hostSide, address))

	attached := func(change ...func(*settings.Config)) []string {
		t.Helper()
		b := startBench(t, config(change...))
		defer func() { require.NoError(t, b.detach()) }()
		return b.attachedTo()
	}
	assert.Equal(t, []string{"bridge", "free", "lo"}, attached())
	assert.Equal(t, []string{"bridge", "free"}, attached(included("*")))
	assert.Equal(t, []string{"bridge", "free", "member"}, attached(included("*", "member")))
	assert.Equal(t, []string{"hostside"}, attached(included("host*", "nothing*")))
	require.NoError(t, netlink.AddrAdd(hostSide, address))
	assert.Equal(t, []string{"bridge", "free", "hostside"}, attached(included("*")), "with an address it is ours")
	require.NoError(t, netlink.AddrDel(hostSide, address))
	assert.Equal(t, []string{"bridge", "free"}, attached(included("*", "member"), func(c *settings.Config) {
		c.ExcludeInterfaces = []string{"lo", "mem*"}
	}))

	b := openBench(t, config(included("free", "eth77")))
	err = b.start()
	require.ErrorContains(t, err, "interfaces::include")
	require.ErrorContains(t, err, `"eth77"`)
	free, err := netlink.LinkByName("free")
	require.NoError(t, err)
	assert.Zero(t, tcxPrograms(t, free.Attrs().Index), "nothing is left half attached")

	b = startBench(t, config(included("*")))
	require.NoError(t, netlink.LinkSetNoMaster(member))
	b.eventuallyAttachedTo("bridge", "free", "member")
	require.NoError(t, netlink.LinkSetMaster(member, bridge))
	b.eventuallyAttachedTo("bridge", "free")
}

// Both ends of a netkit pair, of which one is a container's own interface. Kernels have
// them since 6.7, if they were built with them.
func TestTCSelectsOneEndOfNetkitPairs(t *testing.T) {
	testbed.NeedKernel(t, testbed.NetkitDevices)
	wire.Enter(t)
	pair := &netlink.Netkit{LinkAttrs: netlink.LinkAttrs{Name: "host"}}
	pair.SetPeerAttrs(&netlink.LinkAttrs{Name: "eth0"})
	require.NoError(t, netlink.LinkAdd(pair))
	b := startBench(t, config(included("*")))
	b.eventuallyAttachedTo("eth0", "host")

	other := wire.NewPeer(t)
	end, err := netlink.LinkByName("eth0")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetNsFd(end, other.File.FD()))
	b.eventuallyAttachedTo()
	other.In(func() {
		inside := startBench(t, config(included("*")))
		inside.eventuallyAttachedTo("eth0")
		require.NoError(t, inside.detach())
	})
	wire.SetUp(t, "host", "192.0.2.1/24")
	b.eventuallyAttachedTo("host")
}

func (b *bench) eventualPacket() (record *shared.PacketRecord) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { record = b.packet(); return record != nil }, 5*time.Second, time.Millisecond)
	return record
}

// What TEST_RUN can't express.
func TestTCOverVeth(t *testing.T) {
	wire.Enter(t)
	other := wire.NewPeer(t)
	other.Veth(t, "server")
	b := startBench(t, config(included("server")))
	tagged := wire.Build(t, wire.Ethernet(0x8100), wire.VLAN(5, layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment(), wire.Payload(100))
	double := wire.Build(t, wire.Ethernet(0x88a8), wire.VLAN(5, 0x8100), wire.VLAN(6, layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment(), wire.Payload(100))
	long := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), wire.IPv4(), wire.Segment(func(tcp *layers.TCP) {
		tcp.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}}}
	}), wire.Payload(8000))
	long6 := wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolIPv6Destination),
		wire.Extension(layers.IPProtocolTCP, 1), wire.Payload(20+8000))
	tcp6 := long6[14+40+16:]
	binary.BigEndian.PutUint16(tcp6[0:], wire.ClientPort)
	binary.BigEndian.PutUint16(tcp6[2:], wire.ServerPort)
	tcp6[12], tcp6[13] = 0x50, 0x10

	for name, test := range map[string]struct {
		frame   []byte
		virtio  []byte
		flow    shared.Flow
		payload uint32
		options int
	}{
		"VLAN in metadata":              {tagged, nil, flow4(), 100, 0},
		"QinQ, the outer in metadata":   {double, nil, flow4(), 100, 0},
		"headers not linear":            {long, wire.VirtioHeader(14), flow4(), 8000, 4},
		"TCP header not linear":         {long, wire.VirtioHeader(34), flow4(), 8000, 4},
		"options not linear":            {long, wire.VirtioHeader(54), flow4(), 8000, 4},
		"IPv6 extensions not linear":    {long6, wire.VirtioHeader(54), flow6(), 8000, 0},
		"IPv6 nothing but the Ethernet": {long6, wire.VirtioHeader(14), flow6(), 8000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			sendFrames(t, other, "peer-server", test.virtio, test.frame)
			record := b.eventualPacket()
			assert.Equal(t, test.flow, record.Flow)
			assert.Equal(t, test.payload, record.Payload)
			assert.EqualValues(t, test.options, record.OptionsLen)
			assert.EqualValues(t, len(test.frame), record.Length)
			assert.Zero(t, record.Malformed)
		})
	}
	b.t = t
	sendFrames(t, other, "peer-server", nil, wire.Ordinary(t)[:14+9], wire.Ordinary(t)[:14+19])
	require.Eventually(t, func() bool { return b.of("server", false).Malformed[packet.IPTruncated] == 2 }, 5*time.Second, time.Millisecond)
}

func TestTCOnDevicesWithoutLinkHeader(t *testing.T) {
	wire.Enter(t)
	tun := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: "tun"}, Mode: netlink.TUNTAP_MODE_TUN,
		Flags: netlink.TUNTAP_NO_PI, Queues: 1, NonPersist: true,
	}
	require.NoError(t, netlink.LinkAdd(tun))
	require.Len(t, tun.Fds, 1)
	defer tun.Fds[0].Close()
	wire.SetUp(t, "tun", "192.0.2.1/24")
	b := startBench(t, config(included("tun")))
	for _, frame := range [][]byte{
		wire.Ordinary(t),
		wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv6), wire.IPv6(layers.IPProtocolTCP), wire.Segment(), wire.Payload(100)),
	} {
		_, err := tun.Fds[0].Write(frame[14:])
		require.NoError(t, err)
		record := b.eventualPacket()
		assert.EqualValues(t, 100, record.Payload)
		assert.EqualValues(t, len(frame)-14, record.Length)
		assert.EqualValues(t, wire.ServerPort, record.Flow.LocalPort)
	}
	// The programs of one namespace have the same settings.
	require.NoError(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644))
	require.Eventually(t, func() bool {
		return b.looksAtAddresses()
	}, 5*time.Second, time.Millisecond)
	foreign := wire.IPv4(func(ip *layers.IPv4) { ip.DstIP = wire.Client4.AsSlice() })
	_, err := tun.Fds[0].Write(wire.Build(t, wire.Ethernet(layers.EthernetTypeIPv4), foreign, wire.Segment())[14:])
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.of("tun", false).Forwarded == 1 }, 5*time.Second, time.Millisecond)
}
