// SPDX-License-Identifier: Apache-2.0

package blocks

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is a host that has been up for an hour.
const start = time.Hour

var (
	guessing = Origin{Kind: Rule, Name: "login_guessing"}
	probing  = Origin{Kind: Rule, Name: "http_probing"}
	file     = Origin{Kind: File, Name: "/etc/ebpf-tcp/block.d/mine"}
	crowdsec = Origin{Kind: CrowdSec}
	operator = Origin{Kind: Operator}
)

// exact are the defaults without jitter.
func exact() Settings {
	s := Defaults()
	s.Jitter = 0
	return s
}

func ask(prefix string, origin Origin) *Request {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		a := netip.MustParseAddr(prefix)
		p = netip.PrefixFrom(a, a.BitLen())
	}
	return &Request{Prefix: p, Origin: origin, Rule: origin.Name, Reason: "because", Evidence: 3}
}

func key(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func TestABlockBeginsAndEnds(t *testing.T) {
	table := New(exact())
	d := table.Block(ask("198.51.100.7", guessing), start)
	require.Equal(t, Blocked, d.Outcome)
	assert.True(t, d.First())
	assert.Equal(t, key("198.51.100.7/32"), d.Key)
	assert.Equal(t, uint8(1), d.Block.Step)
	assert.Equal(t, 10*time.Minute, d.Block.Left(start))
	assert.Equal(t, start+10*time.Minute, table.Next())

	assert.Equal(t, Unchanged, table.Block(ask("::ffff:198.51.100.7", guessing), start+time.Second).Outcome, "a record that was under way")
	assert.Empty(t, table.Tick(start+10*time.Minute-1))
	ended := table.Tick(start + 10*time.Minute)
	require.Len(t, ended, 1)
	assert.Equal(t, Expired, ended[0].Cause)
	assert.True(t, ended[0].Last())
	assert.Zero(t, table.Len())
	assert.Equal(t, Forever, table.Next())
}

// TestRepeatersAreBlockedLonger: 10 minutes × 1, 2, 4 … up to a day, and from 1 again when it is long ago.
func TestRepeatersAreBlockedLonger(t *testing.T) {
	table := New(exact())
	now := start
	for step, minutes := range []int{10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440} {
		d := table.Block(ask("2001:db8::7", guessing), now)
		require.Equal(t, Blocked, d.Outcome)
		assert.Equal(t, uint8(step+1), d.Block.Step)
		assert.Equal(t, time.Duration(minutes)*time.Minute, d.Block.Left(now))
		now = d.Until
		require.Len(t, table.Tick(now), 1)
		now += time.Hour
	}
	d := table.Block(ask("2001:db8::7", guessing), now+24*time.Hour)
	assert.Equal(t, uint8(1), d.Block.Step)
}

func TestTwoRulesAtOnceAreOneOccasion(t *testing.T) {
	table := New(exact())
	assert.Equal(t, uint8(1), table.Block(ask("198.51.100.7", guessing), start).Block.Step)
	assert.Equal(t, uint8(1), table.Block(ask("198.51.100.7", probing), start).Block.Step)
	table.Tick(start + time.Hour)
	assert.Equal(t, uint8(2), table.Block(ask("198.51.100.7", probing), start+time.Hour).Block.Step)
}

// TestAnIPv6NetworkIsOneKey: who changes the address for every probe is blocked once.
func TestAnIPv6NetworkIsOneKey(t *testing.T) {
	table := New(exact())
	assert.Equal(t, Blocked, table.Block(ask("2001:db8:0:1::1", guessing), start).Outcome)
	for i := range 100 {
		assert.Equal(t, Unchanged, table.Block(ask(fmt.Sprintf("2001:db8:0:1::%x", i+2), guessing), start).Outcome)
	}
	assert.Equal(t, 1, table.Len())
	assert.True(t, table.IsExact(key("2001:db8:0:1::/64")))
	assert.False(t, table.IsExact(key("2001:db8::/48")))
	assert.False(t, table.IsExact(key("198.51.100.0/24")))
	assert.Equal(t, Blocked, table.Block(ask("2001:db8:0:2::1", guessing), start).Outcome)
}

func TestJitter(t *testing.T) {
	set := Defaults()
	for _, random := range []float64{0, 0.5, 0.999} {
		set.Random = func() float64 { return random }
		table := New(set)
		left := table.Block(ask("198.51.100.7", guessing), start).Block.Left(start)
		assert.InDelta(t, (10 * time.Minute).Seconds(), left.Seconds(), 60)
		assert.InDelta(t, 540+120*random, left.Seconds(), 0.01)
	}
}

// TestOriginsKeepTheirOwn: lifting one origin's block leaves another's.
func TestOriginsKeepTheirOwn(t *testing.T) {
	table := New(exact())
	list := ask("198.51.100.7", file)
	list.TTL = Forever
	bouncer := ask("198.51.100.7", crowdsec)
	bouncer.TTL = time.Hour
	assert.True(t, table.Block(list, start).First())
	second := table.Block(bouncer, start)
	assert.Equal(t, Blocked, second.Outcome)
	assert.False(t, second.First())
	assert.Equal(t, Forever, second.Until)

	_, ok := table.Lift(key("198.51.100.7/32"), operator, start)
	assert.False(t, ok)
	d, ok := table.Lift(key("198.51.100.7/32"), file, start)
	require.True(t, ok)
	assert.False(t, d.Last())
	assert.Equal(t, start+time.Hour, d.Until)
	assert.Equal(t, []Origin{crowdsec}, table.Origins(CrowdSec))
	assert.Empty(t, table.Origins(File))

	ended := table.LiftAll(key("198.51.100.7/32"), start)
	require.Len(t, ended, 1)
	assert.True(t, ended[0].Last())
	assert.Zero(t, table.Len())
}

func TestWhatARuleMayNotBlock(t *testing.T) {
	table := New(exact())
	for prefix, want := range map[string]Outcome{
		"198.51.100.0/24": Blocked, "198.51.0.0/23": Refused, "0.0.0.0/0": Refused,
		"2001:db8::/48": Blocked, "2001:db8::/47": Refused, "::/0": Refused,
	} {
		d := table.Block(ask(prefix, guessing), start)
		assert.Equal(t, want, d.Outcome, prefix)
		if want == Refused {
			assert.Equal(t, TooWide, d.Refusal)
		}
	}
	list := ask("10.0.0.0/8", file)
	list.TTL = Forever
	assert.Equal(t, Blocked, table.Block(list, start).Outcome)
	d := table.Block(&Request{Origin: guessing}, start)
	assert.Equal(t, NoAddress, d.Refusal)
}

// TestAtACapTheNewestIsRefused: nothing is evicted, and no kind takes another's room.
func TestAtACapTheNewestIsRefused(t *testing.T) {
	set := exact()
	set.Limits = [Kinds]int{Rule: 10, File: 1, CrowdSec: 1, Operator: 1}
	table := New(set)
	for i := range 1000 {
		d := table.Block(ask(fmt.Sprintf("198.51.100.%d", i%256), guessing), start)
		if i < 10 {
			assert.Equal(t, Blocked, d.Outcome)
		} else if i < 256 {
			assert.Equal(t, TooMany, d.Refusal)
		}
	}
	assert.Equal(t, 10, table.Len())
	assert.Equal(t, Blocked, table.Block(ask("203.0.113.1", operator), start).Outcome)
	assert.Equal(t, Blocked, table.Block(ask("198.51.100.1", file), start).Outcome)
	assert.Equal(t, TooMany, table.Block(ask("198.51.100.2", file), start).Refusal)
}

func TestNewBlocksPerMinute(t *testing.T) {
	set := exact()
	set.PerMinute = 60
	table := New(set)
	minute := 0
	blocked := func(at time.Duration) (n int) {
		minute++
		for i := range 200 {
			d := table.Block(ask(fmt.Sprintf("10.0.%d.%d", minute, i), guessing), at)
			if d.Outcome == Blocked {
				n++
			} else {
				assert.Equal(t, TooFast, d.Refusal)
			}
		}
		return n
	}
	assert.Equal(t, 60, blocked(start))
	assert.Zero(t, blocked(start))
	assert.Equal(t, 10, blocked(start+10*time.Second))
	assert.Equal(t, 60, blocked(start+time.Hour))
	assert.Equal(t, Blocked, table.Block(ask("203.0.113.1", operator), start+time.Hour).Outcome, "a person is not a flood")
}

func TestAKeyHasSoManyOrigins(t *testing.T) {
	table := New(exact())
	for i := range maxOrigins {
		require.Equal(t, Blocked, table.Block(ask("198.51.100.7", Origin{File, fmt.Sprint(i)}), start).Outcome)
	}
	assert.Equal(t, ManyOrigins, table.Block(ask("198.51.100.7", guessing), start).Refusal)
}

func TestTTLs(t *testing.T) {
	table := New(exact())
	r := ask("198.51.100.7", guessing)
	r.TTL = 100 * time.Hour
	assert.Equal(t, 24*time.Hour, table.Block(r, start).Block.Left(start), "no record blocks for longer than max_ttl")
	r = ask("198.51.100.8", guessing)
	r.TTL, r.Limit = time.Hour, 10*time.Minute
	assert.Equal(t, 10*time.Minute, table.Block(r, start).Block.Left(start))
	d := table.Block(r, start+5*time.Minute)
	assert.Equal(t, Unchanged, d.Outcome, "the limit counts from the beginning")
	r.Limit = 0
	d = table.Block(r, start+5*time.Minute)
	assert.Equal(t, Prolonged, d.Outcome, "the address is proven now")
	assert.Equal(t, start+65*time.Minute, d.Until)
	r.TTL = time.Minute
	assert.Equal(t, Unchanged, table.Block(r, start+5*time.Minute).Outcome, "a record never shortens")

	person := ask("198.51.100.9", operator)
	person.TTL = 100 * time.Hour
	assert.Equal(t, 100*time.Hour, table.Block(person, start).Block.Left(start))
	person.TTL = time.Hour
	assert.Equal(t, Shortened, table.Block(person, start).Outcome)
	assert.Len(t, table.Tick(start+2*time.Hour), 2)
}

func TestALimitedBlockBecomesAFullOne(t *testing.T) {
	table := New(exact())
	r := ask("198.51.100.7", guessing)
	r.Limit = time.Minute
	assert.Equal(t, time.Minute, table.Block(r, start).Block.Left(start))
	r.Limit = 0
	d := table.Block(r, start+30*time.Second)
	assert.Equal(t, Prolonged, d.Outcome)
	assert.Equal(t, 10*time.Minute, d.Block.Left(start+30*time.Second))
}

// TestWhileActive: packets that still come prolong a block to at most the next step.
func TestWhileActive(t *testing.T) {
	table := New(exact())
	table.Block(ask("198.51.100.7", guessing), start)
	k := key("198.51.100.7/32")
	decisions := 0
	now := start
	for ; table.Len() > 0; now += time.Second {
		for _, d := range table.Active(k, now) {
			assert.Equal(t, Prolonged, d.Outcome)
			decisions++
		}
		table.Tick(now)
	}
	assert.InDelta(t, (20 * time.Minute).Seconds(), (now - start).Seconds(), 2)
	assert.LessOrEqual(t, decisions, 4)
	assert.Equal(t, uint8(3), table.Block(ask("198.51.100.7", guessing), now).Block.Step, "it had the second step")

	// A source that falls silent is free after one Length.
	table = New(exact())
	table.Block(ask("198.51.100.7", guessing), start)
	require.Len(t, table.Active(k, start+6*time.Minute), 1)
	assert.Equal(t, start+16*time.Minute, table.Next0(k))

	assert.Empty(t, table.Active(key("198.51.100.8/32"), now))
	list := ask("198.51.100.9", file)
	list.TTL = time.Minute
	table.Block(list, start)
	assert.Empty(t, table.Active(key("198.51.100.9/32"), start+50*time.Second), "a list says itself how long")
	forged := ask("198.51.100.10", guessing)
	forged.Limit = 10 * time.Minute
	table.Block(forged, start)
	assert.Empty(t, table.Active(key("198.51.100.10/32"), start+9*time.Minute))
}

// Next0 is when the first block of a key ends.
func (t *Table) Next0(key netip.Prefix) time.Duration { return t.keys[key][0].Until }

func TestCovering(t *testing.T) {
	table := New(exact())
	for _, prefix := range []string{"198.51.100.7", "198.51.100.0/24", "198.0.0.0/8", "203.0.113.0/24", "2001:db8::/32", "2001:db8::1"} {
		r := ask(prefix, file)
		r.TTL = Forever
		require.Equal(t, Blocked, table.Block(r, start).Outcome)
	}
	assert.Equal(t, []netip.Prefix{key("198.51.100.7/32"), key("198.51.100.0/24"), key("198.0.0.0/8")}, table.Covering(netip.MustParseAddr("::ffff:198.51.100.7")))
	assert.Equal(t, []netip.Prefix{key("2001:db8::/64"), key("2001:db8::/32")}, table.Covering(netip.MustParseAddr("2001:db8::2")))
	assert.Empty(t, table.Covering(netip.MustParseAddr("9.9.9.9")))
	assert.Empty(t, table.Covering(netip.Addr{}))
	table.LiftAll(key("198.0.0.0/8"), start)
	assert.Len(t, table.Covering(netip.MustParseAddr("198.51.100.7")), 2)
}

func TestWhatOthersWriteIsCleaned(t *testing.T) {
	table := New(exact())
	r := ask("198.51.100.7", guessing)
	r.Reason = "a\x1b[2J" + strings.Repeat("x", 10_000)
	d := table.Block(r, start)
	assert.LessOrEqual(t, len(d.Block.Reason), 255)
	assert.NotContains(t, d.Block.Reason, "\x1b")
}

// TestManySteps: after any changes, the table's counts are those of its blocks, and everything ends.
func TestManySteps(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 7))
	set := Defaults()
	set.Random, set.Remembered = random.Float64, 5
	set.Limits = [Kinds]int{Rule: 20, File: 20, CrowdSec: 20, Operator: 20}
	table := New(set)
	now := start
	origins := []Origin{guessing, probing, file, crowdsec, operator}
	for range 5_000 {
		addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(random.IntN(30))})
		prefix := netip.PrefixFrom(addr, 24+random.IntN(9))
		origin := origins[random.IntN(len(origins))]
		switch random.IntN(6) {
		case 0, 1, 2:
			r := &Request{Prefix: prefix, Origin: origin, TTL: time.Duration(random.IntN(3)) * time.Minute}
			d := table.Block(r, now)
			if d.Outcome != Refused {
				require.GreaterOrEqual(t, d.Until, d.Block.Until)
				require.Less(t, d.Block.Until, now+set.MaxTTL+1)
			}
		case 3:
			table.Lift(prefix, origin, now)
		case 4:
			table.Active(table.Key(prefix), now)
		case 5:
			now += time.Duration(random.IntN(120)) * time.Second
			table.Tick(now)
		}
		consistent(t, table, now)
	}
	table.Tick(now + 48*time.Hour)
	assert.Zero(t, table.Len())
	assert.Zero(t, table.count)
}

func consistent(t *testing.T, table *Table, now time.Duration) {
	t.Helper()
	var counts [Kinds]int
	count, next := 0, Forever
	for k, held := range table.All() {
		require.NotEmpty(t, held)
		for i := range held {
			counts[held[i].Origin.Kind]++
			count++
			next = min(next, held[i].Until)
			require.GreaterOrEqual(t, held[i].limit, held[i].Until, "%s", k)
		}
	}
	require.Equal(t, counts, table.counts)
	require.Equal(t, count, table.count)
	require.LessOrEqual(t, table.Next(), next)
	require.LessOrEqual(t, len(table.ends), 2*count+1025)
	known, _ := table.Remembered()
	require.LessOrEqual(t, known, table.set.Remembered)
	for kind, n := range counts {
		require.LessOrEqual(t, n, table.set.Limits[kind])
	}
}

func TestNames(t *testing.T) {
	assert.Equal(t, "crowdsec", CrowdSec.String())
	assert.Equal(t, "unknown", Kinds.String())
	assert.Equal(t, "refused", Refused.String())
	assert.Equal(t, "ended", Ended.String())
}
