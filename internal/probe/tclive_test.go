// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

// peer is another network namespace, with a thread of its own in it.
type peer struct {
	file *netns.Namespace
	do   chan func()
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	p := &peer{do: make(chan func())}
	ready := make(chan error)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			p.file, err = netns.OpenThread()
		}
		ready <- err
		for f := range p.do {
			f()
		}
	}()
	require.NoError(t, <-ready)
	t.Cleanup(func() {
		close(p.do)
		<-done
		p.file.Close()
	})
	return p
}

// in runs f on the peer's thread.
func (p *peer) in(f func()) {
	done := make(chan struct{})
	p.do <- func() { defer close(done); f() }
	<-done
}

// veth makes a pair, up and with addresses: one end here, the other at the peer.
func (p *peer) veth(t *testing.T, name string) {
	t.Helper()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 9000}, PeerName: "peer-" + name, PeerMTU: 9000}
	require.NoError(t, netlink.LinkAdd(pair))
	other, err := netlink.LinkByName("peer-" + name)
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetNsFd(other, p.file.FD()))
	setUp(t, name, "192.0.2.1/24")
	p.in(func() { setUp(t, "peer-"+name, "192.0.2.7/24") })
}

// eventuallyUp waits for the carrier, without which frames are dropped: the kernel takes
// notice of it in its own time.
func (p *peer) eventuallyUp(t *testing.T, name string) {
	t.Helper()
	within(t, soon, func() (up bool) {
		p.in(func() {
			device, err := netlink.LinkByName(name)
			up = err == nil && device.Attrs().OperState == netlink.OperUp
		})
		return up
	}, "%s is up", name)
}

func setUp(t *testing.T, name, address string) {
	t.Helper()
	device, err := netlink.LinkByName(name)
	require.NoError(t, err)
	if address != "" {
		parsed, err := netlink.ParseAddr(address)
		require.NoError(t, err)
		require.NoError(t, netlink.AddrAdd(device, parsed))
	}
	require.NoError(t, netlink.LinkSetUp(device))
}

// startTCBench attaches to interfaces of the current namespace.
func startTCBench(t *testing.T, cfg Config) *tcBench {
	t.Helper()
	needing(t, packetNeedsOf(&cfg)...)
	b := openTCBench(t, cfg)
	require.NoError(t, b.start())
	for _, hook := range b.hooks() {
		require.NoError(t, hook.Err)
	}
	b.listen(tcServerPort, true)
	return b
}

func openTCBench(t *testing.T, cfg Config) *tcBench {
	t.Helper()
	b := newTCBench(t, cfg)
	require.NoError(t, b.close())
	b.tcVantage = newTCVantage(&cfg, b.options, zaptest.NewLogger(t))
	live := b.tcVantage
	t.Cleanup(func() { require.NoError(t, live.close()) })
	return b
}

func included(names ...string) func(*Config) {
	return func(c *Config) { c.IncludeInterfaces, c.ExcludeInterfaces = names, []string{"lo"} }
}

func mode(m TCMode) func(*Config) { return func(c *Config) { c.TCMode = m } }

// attachedTo lists the names of the interfaces with both programs.
func (b *tcBench) attachedTo() []string {
	return b.attached.Interfaces()
}

func (b *tcBench) eventuallyAttachedTo(names ...string) {
	b.t.Helper()
	require.Eventuallyf(b.t, func() bool { return slices.Equal(b.attachedTo(), names) },
		5*time.Second, 5*time.Millisecond, "want %v", names)
}

// of is the count of one interface and direction.
func (b *tcBench) of(name string, egress bool) packet.Interface {
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

// tcxSupported is false before 6.6, where a query for TCX makes no sense.
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
	for _, m := range []TCMode{TCX, TCClsact} {
		t.Run(string(m), func(t *testing.T) {
			needingMode(t, m)
			enterNetNS(t)
			other := newPeer(t)
			other.veth(t, "early")
			b := startTCBench(t, tcConfig(mode(m), included("early*", "late*", "rename*")))
			assert.Equal(t, []string{"early"}, b.attachedTo())
			other.veth(t, "late")
			b.eventuallyAttachedTo("early", "late")

			late, err := netlink.LinkByName("late")
			require.NoError(t, err)
			sendFrames(t, other, "peer-late", nil, ordinary(t))
			require.Eventually(t, func() bool { return b.of("late", false).Packets[packet.Data] == 1 }, 5*time.Second, time.Millisecond)

			require.NoError(t, netlink.LinkSetDown(late))
			require.NoError(t, netlink.LinkSetName(late, "renamed"))
			require.NoError(t, netlink.LinkSetUp(late))
			b.eventuallyAttachedTo("early", "renamed")
			other.eventuallyUp(t, "peer-late")
			sendFrames(t, other, "peer-late", nil, ordinary(t), ordinary(t))
			require.Eventually(t, func() bool { return b.of("renamed", false).Packets[packet.Data] == 2 }, 5*time.Second, time.Millisecond)
			assert.EqualValues(t, 1, b.of("late", false).Packets[packet.Data], "what was counted keeps its name")

			require.NoError(t, netlink.LinkDel(late))
			b.eventuallyAttachedTo("early")
			assert.EqualValues(t, 2, b.of("renamed", false).Packets[packet.Data], "totals never fall")
			other.veth(t, "late")
			b.eventuallyAttachedTo("early", "late")
			sendFrames(t, other, "peer-late", nil, ordinary(t))
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
	enterNetNS(t)
	newPeer(t).veth(t, "shared")
	device, err := netlink.LinkByName("shared")
	require.NoError(t, err)
	foreign := func() *netlink.BpfFilter {
		prog := newTCBench(t, tcConfig()).objects.Programs["tc_ingress_eth"]
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
		first := startTCBench(t, tcConfig(mode(TCClsact), included("shared"), func(c *Config) { c.TCFirst = true }))
		second := startTCBench(t, tcConfig(mode(TCClsact), included("shared")))
		assert.Len(t, filtersOf(t, device), 4)
		require.NoError(t, first.detach())
		assert.Len(t, filtersOf(t, device), 2)
		require.NoError(t, second.detach())
		assert.Equal(t, 1, clsactOf(t, device))
		require.NoError(t, netlink.QdiscDel(clsact(device.Attrs().Index)))
	}
	{ // their filter on our qdisc
		b := startTCBench(t, tcConfig(mode(TCClsact), included("shared"), func(c *Config) { c.TCFirst = true }))
		require.NoError(t, netlink.FilterAdd(foreign()))
		assert.Len(t, filtersOf(t, device), 3)
		require.NoError(t, b.detach())
		assert.Equal(t, []string{"foreign"}, filtersOf(t, device))
	}
}

func TestTCSelectsInterfaces(t *testing.T) {
	enterNetNS(t)
	other := newPeer(t)
	require.NoError(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge"}}))
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "member"}, PeerName: "free"}
	require.NoError(t, netlink.LinkAdd(pair))
	member, err := netlink.LinkByName("member")
	require.NoError(t, err)
	bridge, err := netlink.LinkByName("bridge")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetMaster(member, bridge))
	other.veth(t, "hostside")
	hostSide, err := netlink.LinkByName("hostside")
	require.NoError(t, err)
	address, err := netlink.ParseAddr("192.0.2.1/24")
	require.NoError(t, err)
	require.NoError(t, netlink.AddrDel(hostSide, address))

	attached := func(change ...func(*Config)) []string {
		t.Helper()
		b := startTCBench(t, tcConfig(change...))
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
	assert.Equal(t, []string{"bridge", "free"}, attached(included("*", "member"), func(c *Config) {
		c.ExcludeInterfaces = []string{"lo", "mem*"}
	}))

	b := openTCBench(t, tcConfig(included("free", "eth77")))
	err = b.start()
	require.ErrorContains(t, err, "interfaces::include")
	require.ErrorContains(t, err, `"eth77"`)
	free, err := netlink.LinkByName("free")
	require.NoError(t, err)
	assert.Zero(t, tcxPrograms(t, free.Attrs().Index), "nothing is left half attached")

	b = startTCBench(t, tcConfig(included("*")))
	require.NoError(t, netlink.LinkSetNoMaster(member))
	b.eventuallyAttachedTo("bridge", "free", "member")
	require.NoError(t, netlink.LinkSetMaster(member, bridge))
	b.eventuallyAttachedTo("bridge", "free")
}

// Both ends of a netkit pair, of which one is a container's own interface. Kernels have
// them since 6.7, if they were built with them.
func TestTCSelectsOneEndOfNetkitPairs(t *testing.T) {
	testbed.NeedKernel(t, testbed.NetkitDevices)
	enterNetNS(t)
	pair := &netlink.Netkit{LinkAttrs: netlink.LinkAttrs{Name: "host"}}
	pair.SetPeerAttrs(&netlink.LinkAttrs{Name: "eth0"})
	require.NoError(t, netlink.LinkAdd(pair))
	b := startTCBench(t, tcConfig(included("*")))
	b.eventuallyAttachedTo("eth0", "host")

	other := newPeer(t)
	end, err := netlink.LinkByName("eth0")
	require.NoError(t, err)
	require.NoError(t, netlink.LinkSetNsFd(end, other.file.FD()))
	b.eventuallyAttachedTo()
	other.in(func() {
		inside := startTCBench(t, tcConfig(included("*")))
		inside.eventuallyAttachedTo("eth0")
		require.NoError(t, inside.detach())
	})
	setUp(t, "host", "192.0.2.1/24")
	b.eventuallyAttachedTo("host")
}

// virtioHeader says that only the first bytes are to be in the linear area.
func virtioHeader(linear uint16) []byte {
	header := make([]byte, 10)
	binary.NativeEndian.PutUint16(header[2:], linear)
	return header
}

// sendFrames sends frames as they are from a device of the peer.
func sendFrames(t *testing.T, p *peer, device string, virtio []byte, frames ...[]byte) {
	t.Helper()
	p.in(func() { sendFramesHere(t, device, virtio, frames...) })
}

func sendFramesHere(t *testing.T, device string, virtio []byte, frames ...[]byte) {
	t.Helper()
	from, err := netlink.LinkByName(device)
	require.NoError(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	if virtio != nil {
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	}
	for _, frame := range frames {
		to := &unix.SockaddrLinklayer{Ifindex: from.Attrs().Index}
		require.NoError(t, unix.Sendto(fd, append(slices.Clone(virtio), frame...), 0, to))
	}
}

func (b *tcBench) eventualPacket() (record *shared.PacketRecord) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { record = b.packet(); return record != nil }, 5*time.Second, time.Millisecond)
	return record
}

// What TEST_RUN can't express.
func TestTCOverVeth(t *testing.T) {
	enterNetNS(t)
	other := newPeer(t)
	other.veth(t, "server")
	b := startTCBench(t, tcConfig(included("server")))
	tagged := build(t, ethernet(0x8100), vlan(5, layers.EthernetTypeIPv4), ipv4(), tcpSegment(), payload(100))
	double := build(t, ethernet(0x88a8), vlan(5, 0x8100), vlan(6, layers.EthernetTypeIPv4), ipv4(), tcpSegment(), payload(100))
	long := build(t, ethernet(layers.EthernetTypeIPv4), ipv4(), tcpSegment(func(tcp *layers.TCP) {
		tcp.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}}}
	}), payload(8000))
	long6 := build(t, ethernet(layers.EthernetTypeIPv6), ipv6(layers.IPProtocolIPv6Destination),
		extension(layers.IPProtocolTCP, 1), payload(20+8000))
	tcp6 := long6[14+40+16:]
	binary.BigEndian.PutUint16(tcp6[0:], tcClientPort)
	binary.BigEndian.PutUint16(tcp6[2:], tcServerPort)
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
		"headers not linear":            {long, virtioHeader(14), flow4(), 8000, 4},
		"TCP header not linear":         {long, virtioHeader(34), flow4(), 8000, 4},
		"options not linear":            {long, virtioHeader(54), flow4(), 8000, 4},
		"IPv6 extensions not linear":    {long6, virtioHeader(54), flow6(), 8000, 0},
		"IPv6 nothing but the Ethernet": {long6, virtioHeader(14), flow6(), 8000, 0},
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
	sendFrames(t, other, "peer-server", nil, ordinary(t)[:14+9], ordinary(t)[:14+19])
	require.Eventually(t, func() bool { return b.of("server", false).Malformed[packet.IPTruncated] == 2 }, 5*time.Second, time.Millisecond)
}

func TestTCOnDevicesWithoutLinkHeader(t *testing.T) {
	enterNetNS(t)
	tun := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: "tun"}, Mode: netlink.TUNTAP_MODE_TUN,
		Flags: netlink.TUNTAP_NO_PI, Queues: 1, NonPersist: true,
	}
	require.NoError(t, netlink.LinkAdd(tun))
	require.Len(t, tun.Fds, 1)
	defer tun.Fds[0].Close()
	setUp(t, "tun", "192.0.2.1/24")
	b := startTCBench(t, tcConfig(included("tun")))
	for _, frame := range [][]byte{
		ordinary(t),
		build(t, ethernet(layers.EthernetTypeIPv6), ipv6(layers.IPProtocolTCP), tcpSegment(), payload(100)),
	} {
		_, err := tun.Fds[0].Write(frame[14:])
		require.NoError(t, err)
		record := b.eventualPacket()
		assert.EqualValues(t, 100, record.Payload)
		assert.EqualValues(t, len(frame)-14, record.Length)
		assert.EqualValues(t, tcServerPort, record.Flow.LocalPort)
	}
	// The programs of one namespace are told the same.
	require.NoError(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644))
	require.Eventually(t, func() bool {
		return b.looksAtAddresses()
	}, 5*time.Second, time.Millisecond)
	foreign := ipv4(func(ip *layers.IPv4) { ip.DstIP = tcClient4.AsSlice() })
	_, err := tun.Fds[0].Write(build(t, ethernet(layers.EthernetTypeIPv4), foreign, tcpSegment())[14:])
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.of("tun", false).Forwarded == 1 }, 5*time.Second, time.Millisecond)
}
