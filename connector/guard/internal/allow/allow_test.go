// SPDX-License-Identifier: Apache-2.0

package allow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func entries(why Why, prefixes ...string) (all []Entry) {
	for _, p := range prefixes {
		all = append(all, Entry{netip.MustParsePrefix(p), why, p})
	}
	return all
}

func TestFind(t *testing.T) {
	l := New(append(entries(Configured, "10.0.0.0/8", "10.1.2.3/32", "2001:db8::/32", "2001:db8::1/128"), entries(File, "10.1.2.3/32")...))
	for prefix, want := range map[string]string{
		"10.1.2.3/32": "10.1.2.3/32", "10.1.2.4/32": "10.0.0.0/8", "10.1.0.0/16": "10.0.0.0/8", "0.0.0.0/0": "",
		"11.0.0.0/32": "", "2001:db8::1/128": "2001:db8::1/128", "2001:db8::/64": "2001:db8::/32", "2001:db9::/64": "",
	} {
		e, ok := l.Find(netip.MustParsePrefix(prefix))
		assert.Equal(t, want != "", ok, prefix)
		if ok {
			assert.Equal(t, netip.MustParsePrefix(want), e.Prefix, prefix)
		}
	}
	reasons := l.Reasons(netip.MustParseAddr("::ffff:10.1.2.3"))
	require.Len(t, reasons, 3)
	assert.Equal(t, []Why{Configured, File, Configured}, []Why{reasons[0].Why, reasons[1].Why, reasons[2].Why})
	assert.Empty(t, l.Reasons(netip.Addr{}))
	_, ok := l.Find(netip.Prefix{})
	assert.False(t, ok)
}

// TestWithin: the network that is blocked may contain an address that is allowed.
func TestWithin(t *testing.T) {
	l := New(entries(SSHSession, "2001:db8::7/128", "198.51.100.7/32", "203.0.113.0/24"))
	for prefix, want := range map[string]bool{
		"2001:db8::/64": true, "2001:db8::7/128": true, "2001:db8:0:1::/64": false, "198.51.100.0/24": true, "198.51.100.8/29": false,
		"203.0.113.0/24": true, "203.0.113.128/25": false, "0.0.0.0/0": true, "::/0": true, "198.51.101.0/24": false,
	} {
		_, ok := l.Within(netip.MustParsePrefix(prefix))
		assert.Equal(t, want, ok, prefix)
	}
	_, ok := l.Within(netip.Prefix{})
	assert.False(t, ok)
}

// TestAgainstEveryEntry compares lookups with a look at every entry.
func TestAgainstEveryEntry(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 13))
	anything := func() netip.Prefix {
		if random.IntN(2) == 0 {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(random.IntN(4)), byte(random.IntN(4)), byte(random.IntN(8))}), random.IntN(33)).Masked()
		}
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 7: byte(random.IntN(4)), 15: byte(random.IntN(8))}), random.IntN(129)).Masked()
	}
	for range 200 {
		var all []Entry
		for range random.IntN(20) {
			all = append(all, Entry{Prefix: anything(), Why: Configured})
		}
		l := New(all)
		require.Equal(t, len(all), l.Len())
		for range 100 {
			p := anything()
			covered, within := false, false
			for _, e := range all {
				covered = covered || e.Prefix.Contains(p.Addr()) && e.Prefix.Bits() <= p.Bits()
				within = within || p.Contains(e.Prefix.Addr()) && p.Bits() <= e.Prefix.Bits()
			}
			_, ok := l.Find(p)
			require.Equal(t, covered, ok, "%s in %v", p, all)
			_, ok = l.Within(p)
			require.Equal(t, within, ok, "%s around %v", p, all)
		}
	}
}

func TestASetChangesAtOnce(t *testing.T) {
	s := NewSet()
	for _, local := range []string{"127.0.0.1/32", "::1/128", "169.254.169.254/32", "fe80::1/128"} {
		_, ok := s.Current().Find(netip.MustParsePrefix(local))
		assert.True(t, ok, local)
	}
	changed, err := s.Update("configuration", entries(Configured, "10.0.0.0/8"))
	require.NoError(t, err)
	assert.True(t, changed)
	changed, err = s.Update("configuration", entries(Configured, "10.0.0.0/8"))
	require.NoError(t, err)
	assert.False(t, changed)
	_, err = s.Update("files", make([]Entry, MaxEntries+1))
	require.ErrorContains(t, err, "files")
	assert.Equal(t, 5, s.Current().Len())
	changed, err = s.Update("configuration", nil)
	require.NoError(t, err)
	assert.True(t, changed)
	_, ok := s.Current().Find(netip.MustParsePrefix("10.0.0.1/32"))
	assert.False(t, ok)
}

func TestASetIsReadWhileItChanges(t *testing.T) {
	s := NewSet()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 200 {
				_, _ = s.Update(fmt.Sprint(i), entries(File, fmt.Sprintf("10.%d.%d.0/24", i, n)))
				if _, ok := s.Current().Find(netip.MustParsePrefix("127.0.0.1/32")); !ok {
					t.Error("loopback is not allowed")
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 8, s.Current().Len())
}

func TestResolvers(t *testing.T) {
	found, err := Resolvers(strings.NewReader("# dns\r\nnameserver 192.0.2.53\r\nnameserver\t2001:db8::53 \nnameserver fe80::1%eth0\nsearch nameserver 1.1.1.1\nnameserver junk\noptions ndots:5"), "resolv.conf")
	require.NoError(t, err)
	assert.Equal(t, []Entry{
		{netip.MustParsePrefix("192.0.2.53/32"), Resolver, "resolv.conf"},
		{netip.MustParsePrefix("2001:db8::53/128"), Resolver, "resolv.conf"},
		{netip.MustParsePrefix("fe80::1/128"), Resolver, "resolv.conf"},
	}, found)
	found, err = Resolvers(strings.NewReader(strings.Repeat("nameserver 192.0.2.53\n", 1000)), "")
	require.NoError(t, err)
	assert.Len(t, found, maxResolvers)
}

func TestKubernetesAPI(t *testing.T) {
	found := KubernetesAPI(func(string) string { return "10.96.0.1" })
	require.Len(t, found, 1)
	assert.Equal(t, netip.MustParsePrefix("10.96.0.1/32"), found[0].Prefix)
	assert.Empty(t, KubernetesAPI(func(string) string { return "" }))
}

func TestPeers(t *testing.T) {
	lookup := func(_ context.Context, _, host string) ([]netip.Addr, error) {
		if host == "backend" {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, nil
		}
		return nil, errors.New("no such host")
	}
	previous := []Entry{{netip.MustParsePrefix("192.0.2.9/32"), Peer, "gone:4317"}, {netip.MustParsePrefix("192.0.2.8/32"), Peer, "removed:1"}}
	found, err := Peers(context.Background(), lookup, []string{"backend:4317", "https://192.0.2.3:8080/x", "unix:///run/x", "gone:4317"}, previous)
	require.ErrorContains(t, err, `resolve peer "gone:4317"`)
	assert.Equal(t, []Entry{
		{netip.MustParsePrefix("192.0.2.1/32"), Peer, "backend:4317"},
		{netip.MustParsePrefix("2001:db8::1/128"), Peer, "backend:4317"},
		{netip.MustParsePrefix("192.0.2.3/32"), Peer, "https://192.0.2.3:8080/x"},
		previous[0],
	}, found, "a peer that can't be resolved now keeps its address")
}

func TestHost(t *testing.T) {
	for endpoint, want := range map[string]string{
		"backend": "backend", "backend:4317": "backend", "[2001:db8::1]:4317": "2001:db8::1", "2001:db8::1": "2001:db8::1", "[2001:db8::1]": "2001:db8::1",
		"http://u:p@backend:80/v1": "backend", "dns:///backend:4317": "backend", "dns://192.0.2.53/backend:4317": "192.0.2.53",
		"unix:///run/x.sock": "", "/run/x.sock": "", "http://[::": "",
	} {
		assert.Equal(t, want, Host(endpoint), endpoint)
	}
}

// FuzzResolvers: no file makes it fail, and it stays bounded.
func FuzzResolvers(f *testing.F) {
	f.Add("nameserver 192.0.2.53\n")
	f.Fuzz(func(t *testing.T, text string) {
		found, _ := Resolvers(strings.NewReader(text), "")
		if len(found) > maxResolvers {
			t.Fatal(len(found))
		}
		for _, e := range found {
			if !e.Prefix.IsValid() {
				t.Fatal(e)
			}
		}
		Host(text)
	})
}
