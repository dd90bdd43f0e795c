// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package inspect

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Layout of a word of the map wanted: see bpf/inspect/wanted.h.
const (
	tagShift   = 37
	wordFirst  = 1 << 36
	wordJoined = 1 << 35
	wordWhole  = 1 << 34
	wordFrames = 1 << 33
	wordNew    = 1 << 32
	numberMask = 1<<32 - 1
)

// words is user space's view of the map wanted. The programs write to it at the same time.
type words struct {
	memory []byte
	sets   []shared.WantedSet
	seed   uint64
	mask   uint64
}

func mapWords(m *ebpf.Map, seed uint64) (*words, error) {
	page := os.Getpagesize()
	size := (int(m.MaxEntries()*m.ValueSize()) + page - 1) / page * page
	memory, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the table of inspected connections: %w", err)
	}
	return &words{
		memory: memory,
		sets:   unsafe.Slice((*shared.WantedSet)(unsafe.Pointer(unsafe.SliceData(memory))), m.MaxEntries()),
		seed:   seed,
		mask:   uint64(m.MaxEntries() - 1),
	}, nil
}

func fold(hash, word uint64) uint64 {
	hash = (hash ^ word) * 0x9e3779b97f4a7c15
	return hash ^ hash>>32
}

// hash is hash_of of bpf/inspect/segment_of.h.
func (w *words) hash(netns uint32, f *flow.Flow) uint64 {
	remote, local := halves(f.Client.Addr()), halves(f.Server.Addr())
	hash := w.seed ^ uint64(netns)
	if remote[0]|local[0] != 0 {
		hash = fold(fold(hash, remote[0]), local[0])
	}
	hash = fold(fold(hash, remote[1]), local[1])
	ports := uint32(bits.ReverseBytes16(f.Client.Port()))<<16 | uint32(bits.ReverseBytes16(f.Server.Port()))
	return fold(hash, uint64(ports))
}

func halves(address netip.Addr) [2]uint64 {
	raw := address.As16()
	return [2]uint64{binary.NativeEndian.Uint64(raw[:8]), binary.NativeEndian.Uint64(raw[8:])}
}

// entry finds the words of a connection; nil if another one has taken its place.
func (w *words) entry(netns uint32, f *flow.Flow) (words *[2]uint64, passed *shared.Passed, tag uint64) {
	hash := w.hash(netns, f)
	tag = max(hash>>tagShift, 1)
	set := &w.sets[hash&w.mask]
	for i := range set.Ways {
		if atomic.LoadUint64(&set.Ways[i].Words[0])>>tagShift == tag {
			return &set.Ways[i].Words, &set.Passed[i], tag
		}
	}
	return nil, nil, 0
}

// want stores the number from which bytes of a direction are wanted.
func (w *words) want(netns uint32, f *flow.Flow, d stream.Direction, sequence uint32) {
	entry, _, tag := w.entry(netns, f)
	if entry == nil {
		return
	}
	update(&entry[d], func(old uint64) uint64 {
		if old>>tagShift != tag {
			return old
		}
		// The programs may know better by now: what is before their number has passed. Going
		// back would only leave what comes next further behind what is wanted. Where they follow
		// frames, the number is where one begins, and user space may have read part of its head.
		number := uint32(old)
		if old&wordFrames == 0 && int32(sequence-number) > 0 {
			number = sequence
		}
		answered := old&^(wordJoined|numberMask) | uint64(number)
		if number != uint32(old) {
			answered &^= wordFirst
		}
		return answered
	})
}

// update changes a word, to which the programs store, too. It tries a few times.
func update(word *uint64, change func(old uint64) uint64) {
	for range 4 {
		old := atomic.LoadUint64(word)
		changed := change(old)
		if changed == old || atomic.CompareAndSwapUint64(word, old, changed) {
			return
		}
	}
}

// follow stores the number where a frame begins, for programs that don't know it. If more has
// passed meanwhile, the next segment begins elsewhere, and they don't follow.
func (w *words) follow(netns uint32, f *flow.Flow, d stream.Direction, sequence uint32) {
	entry, passed, tag := w.entry(netns, f)
	if entry == nil {
		return
	}
	old := atomic.LoadUint64(&entry[d])
	if old>>tagShift != tag || old&wordFrames != 0 || int32(sequence-uint32(old)) < 0 {
		return
	}
	// The programs keep something else there where they follow frames.
	atomic.StoreUint64(&passed.Time[d], 0)
	atomic.CompareAndSwapUint64(&entry[d], old, old&^(wordJoined|wordFirst|wordWhole|numberMask)|wordFrames|uint64(sequence))
}

// widen has much cross of a direction that is HTTP/2, as long as the programs do not know where frames
// begin.
func (w *words) widen(netns uint32, f *flow.Flow, d stream.Direction) {
	entry, _, tag := w.entry(netns, f)
	if entry == nil {
		return
	}
	update(&entry[d], func(old uint64) uint64 {
		if old>>tagShift == tag && old&wordFrames == 0 {
			return old | wordWhole
		}
		return old
	})
}

// passedBy returns the end and the boot time of the last segment that was beyond what was
// wanted. The programs may be writing it: an end that changes meanwhile is unknown.
func (w *words) passedBy(netns uint32, f *flow.Flow, d stream.Direction) (end uint32, when uint64) {
	entry, passed, _ := w.entry(netns, f)
	if passed == nil || atomic.LoadUint64(&entry[d])&wordFrames != 0 {
		return 0, 0 // where frames are followed, the programs keep something else there
	}
	end = atomic.LoadUint32(&passed.End[d])
	when = atomic.LoadUint64(&passed.Time[d])
	if atomic.LoadUint32(&passed.End[d]) != end {
		return 0, 0
	}
	return end, when
}

// follows reports whether the programs know where the next frame begins.
func (w *words) follows(netns uint32, f *flow.Flow, d stream.Direction) bool {
	entry, _, _ := w.entry(netns, f)
	return entry != nil && atomic.LoadUint64(&entry[d])&wordFrames != 0
}

// forget frees the entry of a connection that is over. A new connection between the same ends
// may have it already: nothing was sent since our SYN-ACK, or it would not be over.
func (w *words) forget(netns uint32, f *flow.Flow) {
	entry, _, _ := w.entry(netns, f)
	if entry == nil || atomic.LoadUint64(&entry[stream.ToServer])&wordNew != 0 {
		return
	}
	atomic.StoreUint64(&entry[stream.ToClient], 0)
	atomic.StoreUint64(&entry[stream.ToServer], 0)
}

func (w *words) close() error {
	if w == nil || w.memory == nil {
		return nil
	}
	err := unix.Munmap(w.memory)
	w.memory, w.sets = nil, nil
	if err != nil {
		return fmt.Errorf("unmap the table of inspected connections: %w", err)
	}
	return nil
}
