// SPDX-License-Identifier: Apache-2.0

package blocks

import (
	"iter"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// Table has what is blocked.
type Table struct {
	set  Settings
	keys map[netip.Prefix][]Block
	ends queue
	past *history
	// count is the number of blocks, of counts that of each kind.
	count  int
	counts [Kinds]int
	// perLength counts the keys of each prefix length, [0] of IPv4 and [1] of IPv6.
	perLength [2][129]int
	// tokens are the new blocks that rules may make at once, as of filled.
	tokens float64
	filled time.Duration
}

// New makes an empty table.
func New(set Settings) *Table {
	return &Table{
		set: set, keys: map[netip.Prefix][]Block{}, past: newHistory(set.Remembered, set.Forget),
		tokens: float64(set.PerMinute), filled: math.MinInt64,
	}
}

// Len is the number of keys, Count that of the blocks of a kind.
func (t *Table) Len() int { return len(t.keys) }

// Count is the number of blocks that a kind of origin has.
func (t *Table) Count(kind Kind) int { return t.counts[kind] }

// Remembered is the number of keys whose last block is over; forgotten counts those that were
// dropped early for want of room.
func (t *Table) Remembered() (known int, forgotten uint64) {
	return len(t.past.index), t.past.dropped
}

// Key is what is blocked when a prefix is asked for: an IPv6 address stands for its network,
// because its owner can change it at will. It is invalid if the prefix is.
func (t *Table) Key(prefix netip.Prefix) netip.Prefix {
	prefix, err := address.Canonical(prefix)
	if err != nil {
		return netip.Prefix{}
	}
	if address.IsSingle(prefix) && prefix.Addr().Is6() {
		return netip.PrefixFrom(prefix.Addr(), t.set.IPv6Prefix).Masked()
	}
	return prefix
}

// IsExact tells whether a key has the length of an address's key. The kernel finds those by a hash;
// all others need a trie.
func (t *Table) IsExact(key netip.Prefix) bool {
	if key.Addr().Is4() {
		return key.Bits() == 32
	}
	return key.Bits() == t.set.IPv6Prefix
}

// Get returns the blocks of a key. They must not be changed.
func (t *Table) Get(key netip.Prefix) []Block { return t.keys[key] }

// All are the keys with their blocks, in no order. The table must not be changed meanwhile.
func (t *Table) All() iter.Seq2[netip.Prefix, []Block] {
	return func(yield func(netip.Prefix, []Block) bool) {
		for key, held := range t.keys {
			if !yield(key, held) {
				return
			}
		}
	}
}

// Covering returns the keys that contain an address, the longest first.
func (t *Table) Covering(addr netip.Addr) []netip.Prefix {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return nil
	}
	var found []netip.Prefix
	lengths := &t.perLength[family(addr)]
	for bits := addr.BitLen(); bits >= 0; bits-- {
		if lengths[bits] == 0 {
			continue
		}
		key := netip.PrefixFrom(addr, bits).Masked()
		if _, ok := t.keys[key]; ok {
			found = append(found, key)
		}
	}
	return found
}

// Origins of a kind that block anything.
func (t *Table) Origins(kind Kind) []Origin {
	seen := map[Origin]bool{}
	for _, held := range t.keys {
		for i := range held {
			if held[i].Origin.Kind == kind {
				seen[held[i].Origin] = true
			}
		}
	}
	origins := make([]Origin, 0, len(seen))
	for origin := range seen {
		origins = append(origins, origin)
	}
	slices.SortFunc(origins, func(a, b Origin) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return origins
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

// find returns the place of an origin's block.
func find(held []Block, origin Origin) int {
	return slices.IndexFunc(held, func(b Block) bool { return b.Origin == origin })
}

// insert adds a block, for which there is room.
func (t *Table) insert(key netip.Prefix, b *Block) {
	held := t.keys[key]
	if len(held) == 0 {
		t.perLength[family(key.Addr())][key.Bits()]++
	}
	t.keys[key] = append(held, *b)
	t.count++
	t.counts[b.Origin.Kind]++
	t.schedule(key, b.Until)
}

// end removes a block.
func (t *Table) end(key netip.Prefix, i int, cause Cause, now time.Duration) Decision {
	held := t.keys[key]
	b := held[i]
	t.count--
	t.counts[b.Origin.Kind]--
	if len(held) == 1 {
		delete(t.keys, key)
		t.perLength[family(key.Addr())][key.Bits()]--
	} else {
		t.keys[key] = slices.Delete(held, i, i+1)
	}
	if b.Step > 0 {
		t.past.remember(key, b.Step, min(now, b.Until))
	}
	d := t.decide(Ended, key, &b)
	d.Cause = cause
	return d
}

// decide describes what was done with a block.
func (t *Table) decide(outcome Outcome, key netip.Prefix, b *Block) Decision {
	d := Decision{Outcome: outcome, Key: key, Block: *b}
	for i := range t.keys[key] {
		other := &t.keys[key][i]
		d.Until = max(d.Until, other.Until)
		if other.Origin != b.Origin {
			d.Others++
		}
	}
	return d
}

// refuse describes why a request was refused.
func (t *Table) refuse(why Refusal, key netip.Prefix, r *Request) Decision {
	b := Block{Origin: r.Origin, Rule: clean.String(r.Rule), Reason: clean.String(r.Reason), Evidence: r.Evidence}
	d := t.decide(Refused, key, &b)
	d.Refusal = why
	return d
}
