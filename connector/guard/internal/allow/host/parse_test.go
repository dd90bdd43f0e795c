// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSocketsOfTheKernelsTable(t *testing.T) {
	table := map[uint64]socket{}
	require.NoError(t, readTable(strings.NewReader(`  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0 100 0 0 10 0
   1: 0100007F:0016 076433C6:D431 01 00000000:00000000 00:00000000 00000000     0        0 8 1 0 20 4 30 10 -1
   2: 0100007F:0016 076433C6:D432 08 00000000:00000000 00:00000000 00000000     0        0 9 1 0 20 4 30 10 -1
   3: junk
`), table))
	assert.Equal(t, map[uint64]socket{
		7: {netip.MustParseAddrPort("0.0.0.0:22"), netip.MustParseAddrPort("0.0.0.0:0"), listen, 7},
		8: {netip.MustParseAddrPort("127.0.0.1:22"), netip.MustParseAddrPort("198.51.100.7:54321"), established, 8},
	}, table)
	end, ok := parseEndpoint("0000000000000000FFFF0000076433C6:0016")
	require.True(t, ok)
	assert.Equal(t, netip.MustParseAddrPort("198.51.100.7:22"), end, "an IPv4 client of an IPv6 socket")
	end, ok = parseEndpoint("B80D0120000000000000000001000000:0016")
	require.True(t, ok)
	assert.Equal(t, netip.MustParseAddrPort("[2001:db8::1]:22"), end)
}

func FuzzParseSocket(f *testing.F) {
	f.Add("1: 0100007F:0016 076433C6:D431 01 00000000:00000000 00:00000000 00000000 0 0 8")
	f.Fuzz(func(t *testing.T, line string) {
		if s, ok := parseSocket(line); ok && (!s.local.IsValid() || !s.remote.IsValid()) {
			t.Fatalf("%q became %v", line, s)
		}
		_, _, _ = parseStatus([]byte(line))
	})
}

func TestStatus(t *testing.T) {
	parent, uid, err := parseStatus([]byte("Name:\tsshd\nPPid:\t17\nUid:\t0\t102\t0\t0\n"))
	require.NoError(t, err)
	assert.Equal(t, 17, parent)
	assert.Equal(t, uint32(102), uid)
	for _, bad := range []string{"", "PPid:\t1\n", "PPid:\tx\nUid:\t0\t0\t0\t0\n", "PPid:\t1\nUid:\t0\t99999999999\t0\t0\n"} {
		_, _, err := parseStatus([]byte(bad))
		assert.Error(t, err, bad)
	}
}

// session makes processes of one sshd, as they are before and after a login.
func servers(of ...*server) map[int]*server {
	all := map[int]*server{}
	for _, p := range of {
		all[p.pid] = p
	}
	return all
}

func TestWhoIsLoggedIn(t *testing.T) {
	listening := socket{local: netip.MustParseAddrPort("0.0.0.0:22"), state: listen}
	connection := socket{local: netip.MustParseAddrPort("192.0.2.1:22"), remote: netip.MustParseAddrPort("198.51.100.7:1024"), state: established}
	forwarded := socket{local: netip.MustParseAddrPort("192.0.2.1:8080"), remote: netip.MustParseAddrPort("203.0.113.9:1024"), state: established}
	sshd := func(login uint32) *server {
		return &server{pid: 10, parent: 1, login: login, privsep: 102, privsepKnown: true, sockets: []socket{listening}}
	}
	session := func(uid, login uint32, sockets ...socket) *server {
		return &server{pid: 20, parent: 10, uid: uid, login: login, spawner: unset, privsep: 102, privsepKnown: true, sockets: sockets}
	}
	for name, test := range map[string]struct {
		sshd, session *server
		want          bool
	}{
		"the part of root, before":               {sshd(unset), session(0, unset, connection), false},
		"the part of sshd's user, before":        {sshd(unset), session(102, unset, connection), false},
		"a login uid":                            {sshd(unset), session(0, 1000, connection), true},
		"root's login":                           {sshd(unset), session(0, 0, connection), true},
		"the user's part":                        {sshd(unset), session(1000, unset, connection), true},
		"an inherited login uid":                 {sshd(1000), session(0, 1000, connection), false},
		"an inherited login uid, the user's":     {sshd(1000), session(1000, 1000, connection), true},
		"another login uid than sshd's":          {sshd(1000), session(0, 1001, connection), true},
		"a client of a forwarded port":           {sshd(unset), session(1000, 1000, forwarded), false},
		"both: only the session":                 {sshd(unset), session(1000, 1000, forwarded, connection), true},
		"somebody else's process on sshd's port": {sshd(unset), session(1000, 1000), false},
	} {
		found := clients(servers(test.sshd, test.session))
		if !test.want {
			assert.Empty(t, found, name)
			continue
		}
		if assert.Len(t, found, 1, name) {
			assert.Equal(t, allow.Entry{Prefix: netip.MustParsePrefix("198.51.100.7/32"), Why: allow.SSHSession, Detail: "sshd 20"}, found[0], name)
		}
	}
	accepting := sshd(1000)
	accepting.sockets = append(accepting.sockets, connection)
	assert.Empty(t, clients(servers(accepting)), "sshd itself serves nobody")
	found := clients(servers(accepting, session(1000, 1000, connection)))
	assert.Len(t, found, 1, "who knocks at the same time takes nobody off the list")
	// A session that has outlived its sshd, and forwards a port, makes no port one of sshd.
	orphan := session(0, 0, connection, socket{local: netip.MustParseAddrPort("0.0.0.0:8080"), state: listen}, forwarded)
	orphan.parent = 1
	assert.Len(t, clients(servers(sshd(unset), orphan)), 1)
	found = clients(servers(orphan))
	if assert.Len(t, found, 1, "while its sshd restarts") {
		assert.Equal(t, "198.51.100.7", found[0].Prefix.Addr().String())
	}
	unknown := session(102, unset, connection)
	unknown.privsepKnown = false
	assert.Empty(t, clients(servers(sshd(unset), unknown)), "without sshd's user, any user may be that one")
	elsewhere := session(1000, 1000, connection)
	elsewhere.netns = "net:[1]"
	assert.Empty(t, clients(servers(sshd(unset), elsewhere)))
}

// Where systemd or inetd listens, each connection has an sshd of its own. Its first socket is the
// client's, others are forwarded.
func TestWhoIsLoggedInWithoutAListener(t *testing.T) {
	connection := socket{local: netip.MustParseAddrPort("192.0.2.1:22"), remote: netip.MustParseAddrPort("198.51.100.7:1024"), state: established}
	forwarded := socket{local: netip.MustParseAddrPort("192.0.2.1:8080"), remote: netip.MustParseAddrPort("203.0.113.9:1024"), state: established}
	monitor := func(login, spawner uint32, sockets ...socket) *server {
		return &server{pid: 10, parent: 1, login: login, spawner: spawner, sockets: sockets}
	}
	child := func(uid uint32, sockets ...socket) *server {
		return &server{pid: 20, parent: 10, uid: uid, login: unset, privsep: 102, privsepKnown: true, sockets: sockets}
	}
	for name, test := range map[string]struct {
		processes []*server
		want      bool
	}{
		"before the login":                   {[]*server{monitor(unset, unset, connection), child(102, connection)}, false},
		"the user's part":                    {[]*server{monitor(unset, unset, connection), child(1000, connection, forwarded)}, true},
		"a login uid":                        {[]*server{monitor(1000, unset, connection, forwarded)}, true},
		"the login uid of who started inetd": {[]*server{monitor(1000, 1000, connection, forwarded)}, false},
		"somebody's own sshd": {[]*server{
			{pid: 10, parent: 1, uid: 1000, login: 1000, spawner: unset, privsep: 102, privsepKnown: true, sockets: []socket{connection}},
		}, false},
	} {
		found := clients(servers(test.processes...))
		if !test.want {
			assert.Empty(t, found, name)
			continue
		}
		if assert.Len(t, found, 1, name) {
			assert.Equal(t, "198.51.100.7", found[0].Prefix.Addr().String(), name)
		}
	}
}

func TestRoutesSayWhoseAddressesAreWhose(t *testing.T) {
	prefix := func(text string) *net.IPNet {
		_, p, err := net.ParseCIDR(text)
		require.NoError(t, err)
		return p
	}
	a := &Addresses{}
	for _, r := range []netlink.Route{
		{Type: unix.RTN_LOCAL, Dst: prefix("192.0.2.1/32"), LinkIndex: 2},
		{Type: unix.RTN_LOCAL, Dst: prefix("2001:db8:1::/64")},
		{Type: unix.RTN_BROADCAST, Dst: prefix("192.0.2.255/32")},
		{Type: unix.RTN_UNICAST, Dst: prefix("192.0.2.0/24")},
		{Type: unix.RTN_UNICAST, Gw: net.ParseIP("192.0.2.254")},
		{Type: unix.RTN_UNICAST, Dst: prefix("10.0.0.0/8"), MultiPath: []*netlink.NexthopInfo{{Gw: net.ParseIP("192.0.2.253")}, {Via: &netlink.Via{Addr: net.ParseIP("2001:db8::2")}}}},
		{Type: unix.RTN_UNICAST, Dst: prefix("fe80::/64")},
		{Type: unix.RTN_BLACKHOLE, Dst: prefix("203.0.113.0/24")},
	} {
		require.True(t, a.add(r))
	}
	prefixes := func(entries []allow.Entry) (all []string) {
		for _, e := range entries {
			all = append(all, e.Prefix.String())
		}
		return all
	}
	assert.Equal(t, []string{"192.0.2.1/32", "2001:db8:1::/64"}, prefixes(a.Own))
	assert.Equal(t, []string{"192.0.2.254/32", "192.0.2.253/32", "2001:db8::2/128"}, prefixes(a.Gateways))
	assert.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, a.Networks)
}

func TestResolversOfBothFiles(t *testing.T) {
	root := t.TempDir()
	found, err := Resolvers(root)
	require.NoError(t, err)
	assert.Empty(t, found)
	for name, text := range map[string]string{"etc": "nameserver 127.0.0.53\n", "run/systemd/resolve": "nameserver 192.0.2.53\n"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, name), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, name, "resolv.conf"), []byte(text), 0o600))
	}
	found, err = Resolvers(root)
	require.NoError(t, err)
	assert.Equal(t, []allow.Entry{
		{Prefix: netip.MustParsePrefix("127.0.0.53/32"), Why: allow.Resolver, Detail: "/etc/resolv.conf"},
		{Prefix: netip.MustParsePrefix("192.0.2.53/32"), Why: allow.Resolver, Detail: "/run/systemd/resolve/resolv.conf"},
	}, found)
}

// TestASessionThatOneLookMissed stays: the kernel's table of sockets changes while it is read.
func TestASessionThatOneLookMissed(t *testing.T) {
	const grace = time.Minute
	recent := Recent{Grace: grace}
	session := allow.Entry{Prefix: netip.MustParsePrefix("198.51.100.7/32"), Why: allow.SSHSession, Detail: "sshd 20"}
	other := allow.Entry{Prefix: netip.MustParsePrefix("198.51.100.8/32"), Why: allow.SSHSession, Detail: "sshd 30"}
	assert.Equal(t, []allow.Entry{session}, recent.Keep([]allow.Entry{session}, 0))
	assert.Equal(t, []allow.Entry{session, other}, recent.Keep([]allow.Entry{other}, grace-1))
	assert.Equal(t, []allow.Entry{other}, recent.Keep([]allow.Entry{other}, grace))
	assert.Empty(t, recent.Keep(nil, 2*grace))
}

// Without room for all, those stay that are there now, and then those that were there last.
func TestKeepsWhoWasFoundLast(t *testing.T) {
	recent := Recent{Grace: time.Hour}
	some := func(first, n int) (found []allow.Entry) {
		for i := range n {
			addr := netip.AddrFrom4([4]byte{198, 51, byte((first + i) >> 8), byte(first + i)})
			found = append(found, allow.Entry{Prefix: netip.PrefixFrom(addr, 32), Why: allow.SSHSession})
		}
		return found
	}
	before, now := some(10_000, maxSessions/2), some(0, 100)
	recent.Keep(some(20_000, maxSessions-100), 0)
	recent.Keep(before, time.Minute)
	kept := recent.Keep(now, 2*time.Minute)
	assert.Len(t, kept, maxSessions)
	for _, e := range slices.Concat(now, before) {
		_, is := recent.seen[e.Prefix]
		require.True(t, is, e.Prefix)
	}
	assert.Len(t, recent.seen, maxSessions)
	assert.Equal(t, kept, recent.Keep(now, 2*time.Minute), "the same again")
}

// A peer is whom this process has connected to, and not who has connected to it.
func TestPeersOfThisProcess(t *testing.T) {
	at := func(local, remote string, state uint8) socket {
		return socket{local: netip.MustParseAddrPort(local), remote: netip.MustParseAddrPort(remote), state: state}
	}
	accepted := at("192.0.2.1:4317", "198.51.100.7:4317", established)
	var o Outbound
	found := o.peers([]socket{
		at("0.0.0.0:4317", "0.0.0.0:0", listen), accepted,
		at("192.0.2.1:50000", "203.0.113.1:4317", established), at("192.0.2.1:50001", "203.0.113.2:443", synSent),
		at("127.0.0.1:50002", "127.0.0.1:8080", established),
	})
	assert.Equal(t, []allow.Entry{
		{Prefix: netip.MustParsePrefix("203.0.113.1/32"), Why: allow.Peer, Detail: "port 4317"},
		{Prefix: netip.MustParsePrefix("203.0.113.2/32"), Why: allow.Peer, Detail: "port 443"},
	}, found)
	assert.Empty(t, o.peers([]socket{accepted}), "its listener has closed")
}

func TestPeersOfARealSocket(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	var o Outbound
	found, err := o.Find()
	require.NoError(t, err)
	for _, peer := range found {
		assert.Equal(t, allow.Peer, peer.Why)
	}
	assert.True(t, o.listened[uint16(listener.Addr().(*net.TCPAddr).Port)])
}
