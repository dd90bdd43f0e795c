// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"hash/maphash"
	"strconv"
)

// names finds names that an object has more than once. It remembers those of all objects
// of a text, because each costs less than its text does.
type names struct {
	seed maphash.Seed
	// objects are the numbers of the open objects; last is the number of the latest.
	objects []uint32
	last    uint32
	// index has the latest of the entries with a hash, counted from 1. The seed is random, so
	// that nobody can choose names with one hash.
	index   map[uint64]uint32
	entries []nameEntry
	text    []byte
}

type nameEntry struct {
	object     uint32
	start, end uint32
	// next is an earlier entry with the same hash, counted from 1; 0 if there is none.
	next uint32
	// count is how often the object had the name.
	count uint32
}

// keptNames is how many names the memory for the next text may have room for.
const keptNames = 4096

func (n *names) reset() {
	if n.index == nil || len(n.index) > keptNames {
		*n = names{seed: maphash.MakeSeed(), index: map[uint64]uint32{}}
	}
	clear(n.index)
	n.objects, n.entries, n.text, n.last = n.objects[:0], n.entries[:0], n.text[:0], 0
}

func (n *names) open() {
	n.last++
	n.objects = append(n.objects, n.last)
}

func (n *names) close() { n.objects = n.objects[:len(n.objects)-1] }

// unique adds a name of the innermost object. If the object had it before, the name gets a
// suffix that makes it a new one, and repeated is set.
func (n *names) unique(name []byte) (unique []byte, repeated bool) {
	first := n.add(name)
	if first == nil {
		return name, false
	}
	length := len(name)
	for {
		first.count++
		name = strconv.AppendUint(append(name[:length], '#'), uint64(first.count), 10)
		if n.add(name) == nil {
			return name, true
		}
	}
}

// add adds a name of the innermost object. It returns the entry of one that is there,
// which is valid until a name is added.
func (n *names) add(name []byte) *nameEntry {
	object := n.objects[len(n.objects)-1]
	hash := maphash.Bytes(n.seed, name) ^ uint64(object)*0x9e3779b97f4a7c15
	for i := n.index[hash]; i != 0; {
		e := &n.entries[i-1]
		if e.object == object && string(n.text[e.start:e.end]) == string(name) {
			return e
		}
		i = e.next
	}
	start := uint32(len(n.text))
	n.text = append(n.text, name...)
	n.entries = append(n.entries, nameEntry{
		object: object, start: start, end: uint32(len(n.text)), next: n.index[hash], count: 1,
	})
	n.index[hash] = uint32(len(n.entries))
	return nil
}
