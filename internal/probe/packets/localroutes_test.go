// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/local"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// virtualIP is a virtual IP as load balancers have it: an address that no interface
// carries, in a prefix that is routed to this host.
type virtualIP struct {
	name, prefix, address string
	// table holds the local route; a rule leads to any other than the kernel's own.
	table int
}

var virtuals = []virtualIP{
	{"IPv4 prefix", "198.51.100.0/24", "198.51.100.77", unix.RT_TABLE_LOCAL},
	{"IPv4 address", "198.51.100.77/32", "198.51.100.77", unix.RT_TABLE_LOCAL},
	{"IPv4 in another table", "198.51.100.64/26", "198.51.100.77", 100},
	{"IPv4 in a table as of VRFs", "198.51.100.0/24", "198.51.100.77", 5000},
	{"IPv6 prefix", "2001:db8:99::/48", "2001:db8:99::77", unix.RT_TABLE_LOCAL},
	{"IPv6 address", "2001:db8:99::77/128", "2001:db8:99::77", unix.RT_TABLE_LOCAL},
	{"IPv6 in another table", "2001:db8:99::/64", "2001:db8:99::77", 5000},
}

// router is a host that forwards, and a peer that reaches everything through it.
func router(t *testing.T) (other *wire.Peer) {
	t.Helper()
	wire.Enter(t)
	for _, file := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"} {
		require.NoError(t, os.WriteFile(file, []byte("1"), 0o644))
	}
	other = wire.NewPeer(t)
	other.Veth(t, "server")
	addAddress(t, "server", "2001:db8:1::1/64")
	other.In(func() {
		addAddress(t, "peer-server", "2001:db8:1::7/64")
		for destination, gateway := range map[string]string{"0.0.0.0/0": "192.0.2.1", "::/0": "2001:db8:1::1"} {
			_, to, err := net.ParseCIDR(destination)
			require.NoError(t, err)
			require.NoError(t, netlink.RouteAdd(&netlink.Route{Dst: to, Gw: net.ParseIP(gateway)}))
		}
	})
	other.EventuallyUp(t, "peer-server")
	return other
}

// addAddress without asking others whether they have it.
func addAddress(t *testing.T, name, address string) {
	t.Helper()
	device, err := netlink.LinkByName(name)
	require.NoError(t, err)
	parsed, err := netlink.ParseAddr(address)
	require.NoError(t, err)
	parsed.Flags = unix.IFA_F_NODAD
	require.NoError(t, netlink.AddrAdd(device, parsed))
}

func (v *virtualIP) route(t *testing.T) *netlink.Route {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	_, to, err := net.ParseCIDR(v.prefix)
	require.NoError(t, err)
	return &netlink.Route{
		Dst: to, LinkIndex: lo.Attrs().Index, Table: v.table, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
	}
}

// rule leads packets to the address, and from it, to the table.
func (v *virtualIP) rule(t *testing.T) (remove func()) {
	t.Helper()
	if v.table == unix.RT_TABLE_LOCAL {
		return func() {}
	}
	rule := netlink.NewRule()
	rule.Family = netlink.FAMILY_V4
	if netip.MustParseAddr(v.address).Is6() {
		rule.Family = netlink.FAMILY_V6
	}
	rule.Dst, rule.Table, rule.Priority = v.route(t).Dst, v.table, 50
	require.NoError(t, netlink.RuleAdd(rule))
	return func() { require.NoError(t, netlink.RuleDel(rule)) }
}

// syn is a frame to the address, with nobody behind it.
func (v *virtualIP) syn(t *testing.T) []byte {
	t.Helper()
	to := netip.MustParseAddr(v.address)
	link := wire.Ethernet(layers.EthernetTypeIPv4)
	link.DstMAC = wire.HardwareAddress(t, "server")
	if to.Is4() {
		return wire.Build(t, link, wire.IPv4(func(ip *layers.IPv4) { ip.DstIP = to.AsSlice() }), wire.Segment(wire.OnlySYN))
	}
	ip := wire.IPv6(layers.IPProtocolTCP)
	ip.DstIP = to.AsSlice()
	link.EthernetType = layers.EthernetTypeIPv6
	return wire.Build(t, link, ip, wire.Segment(wire.OnlySYN))
}

// knows tells whether the programs have the prefix.
func (b *bench) knows(prefix string) bool {
	b.t.Helper()
	wanted := mappedPrefix(prefix)
	var found uint8
	if b.objects.Maps["local_prefixes"].Lookup(local.PrefixKey(wanted), &found) == nil {
		return true
	}
	var table []byte
	require.NoError(b.t, b.objects.Maps[local.TableName].Lookup(uint32(0), &table))
	for place := range slices.Chunk(table, int(local.AddressSize)) {
		if address, _ := netip.AddrFromSlice(place); wanted.IsSingleIP() && address == wanted.Addr() {
			return true
		}
	}
	return false
}

// halfOpen lists the local addresses of handshakes that are tracked.
func (b *bench) halfOpen() (local []netip.Addr) {
	b.t.Helper()
	var key shared.HalfOpenKey
	var value shared.HalfOpen
	entries := b.maps["half_open_handshakes"].Iterate()
	for entries.Next(&key, &value) {
		local = append(local, netip.AddrFrom16(key.Flow.Local).Unmap())
	}
	require.NoError(b.t, entries.Err())
	return local
}

// On a host that forwards, the packets of its own connections are its own also where
// their address is only routed as local. Routes come and go while we look.
func TestTCLocalRoutesAreOurs(t *testing.T) {
	for _, virtual := range virtuals {
		t.Run(virtual.name, func(t *testing.T) {
			other := router(t)
			defer virtual.rule(t)()
			route := virtual.route(t)
			require.NoError(t, netlink.RouteAdd(route))
			b := startBench(t, config(included("server"), trackHalfOpen))
			require.True(t, b.looksAtAddresses())
			listener := listenTransparent(t)

			serveOnce := func() {
				t.Helper()
				require.NoError(t, listener.SetDeadline(time.Now().Add(5*time.Second)))
				go other.In(func() { talkFrom(t, virtual.address) })
				server, err := listener.Accept()
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, server)
				require.NoError(t, err)
				require.NoError(t, server.Close())
				other.In(func() {})
			}
			serveOnce()
			in, out := b.of("server", false), b.of("server", true)
			assert.EqualValues(t, 1, in.Packets[packet.SYN])
			assert.EqualValues(t, 1, in.Packets[packet.Data])
			assert.EqualValues(t, 1, out.Packets[packet.SYNACK])
			assert.Zero(t, in.Forwarded+out.Forwarded)

			// An attempt that nobody completes.
			sendFrames(t, other, "peer-server", nil, virtual.syn(t))
			require.Eventually(t, func() bool { return b.of("server", false).Packets[packet.SYN] == 2 }, 5*time.Second, time.Millisecond)
			assert.Contains(t, b.halfOpen(), netip.MustParseAddr(virtual.address))

			require.NoError(t, netlink.RouteDel(route))
			wire.Within(t, wire.Soon, func() bool { return !b.knows(virtual.prefix) }, "the route went")
			sendFrames(t, other, "peer-server", nil, virtual.syn(t))
			require.Eventually(t, func() bool { return b.of("server", false).Forwarded == 1 }, 5*time.Second, time.Millisecond)
			assert.EqualValues(t, 2, b.of("server", false).Packets[packet.SYN])

			require.NoError(t, netlink.RouteAdd(route))
			wire.Within(t, wire.Soon, func() bool { return b.knows(virtual.prefix) }, "the route came")
			serveOnce()
			assert.EqualValues(t, 3, b.of("server", false).Packets[packet.SYN])
			assert.EqualValues(t, 1, b.of("server", false).Forwarded)
			require.NoError(t, b.close())
		})
	}
}

// listenTransparent may answer from addresses that are in no table but a rule's.
func listenTransparent(t *testing.T) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
		})
		return errors.Join(err, controlErr)
	}}
	listener, err := config.Listen(t.Context(), "tcp", ":8080")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	return listener.(*net.TCPListener)
}

// talkFrom sends one message to the server and ends.
func talkFrom(t *testing.T, address string) {
	client, err := net.DialTimeout("tcp", net.JoinHostPort(address, "8080"), 5*time.Second)
	if !assert.NoError(t, err) {
		return
	}
	defer client.Close()
	_, err = client.Write([]byte("hello"))
	assert.NoError(t, err)
	assert.NoError(t, client.(*net.TCPConn).CloseWrite())
	_, err = io.Copy(io.Discard, client)
	assert.NoError(t, err)
}

// A local route that a route of another type replaces goes without a message of its own.
func TestTCLocalRouteIsReplaced(t *testing.T) {
	router(t)
	v := virtuals[0]
	route := v.route(t)
	require.NoError(t, netlink.RouteAdd(route))
	b := startBench(t, config(included("server")))
	require.True(t, b.knows(v.prefix))
	route.Type, route.Scope = unix.RTN_UNICAST, netlink.SCOPE_LINK
	require.NoError(t, netlink.RouteReplace(route))
	wire.Within(t, wire.Soon, func() bool { return !b.knows(v.prefix) }, "the route was replaced")
}
