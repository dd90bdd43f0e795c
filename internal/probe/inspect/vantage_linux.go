// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package inspect

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// Options are what the vantage point gets from the probe.
type Options struct {
	Config   *settings.Config
	OwnNetNS uint32
	// Maps are shared with the other vantage points, by name.
	Maps    map[string]*ebpf.Map
	Context *record.Context
}

// Vantage reads what the programs of all namespaces copy. It is a packets.Companion: the
// vantage point on packets says where it attaches.
type Vantage struct {
	options *Options
	words   *words
	ring    *ring
	decoder *Decoder
}

// New opens the ring buffer and the table of what is wanted. It attaches nothing.
func New(options *Options) (*Vantage, error) {
	v := &Vantage{options: options, decoder: NewDecoder(options.Context)}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("choose the seed of the table of inspected connections: %w", err)
	}
	var err error
	if v.words, err = mapWords(options.Maps["wanted"], binary.NativeEndian.Uint64(seed[:])); err != nil {
		return nil, err
	}
	if v.ring, err = newRing(options.Maps["segments"]); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ring buffer of segments: %w", err), v.Close())
	}
	return v, nil
}

// Want tells the programs from which number on bytes of a direction are wanted. It does
// nothing for a connection without an entry: its next data asks again.
func (v *Vantage) Want(netns uint32, f *flow.Flow, d stream.Direction, sequence uint32) {
	v.words.want(netns, f, d, sequence)
}

// Passed returns the end and the time of the last segment of a direction that was not copied,
// because it was too far behind what was wanted; 0 if there was none.
func (v *Vantage) Passed(netns uint32, f *flow.Flow, d stream.Direction) (end uint32, when int64) {
	end, boot := v.words.passedBy(netns, f, d)
	if boot == 0 {
		return 0, 0
	}
	return end, v.options.Context.Clock.Unix(boot)
}

// Follows reports whether the programs follow the frames of HTTP/2 in a direction.
func (v *Vantage) Follows(netns uint32, f *flow.Flow, d stream.Direction) bool {
	return v.words.follows(netns, f, d)
}

// Follow tells the programs that a frame of HTTP/2 begins at a number, behind which nothing was
// seen. If the next segment of that direction goes on there, they follow its frames.
func (v *Vantage) Follow(netns uint32, f *flow.Flow, d stream.Direction, sequence uint32) {
	v.words.follow(netns, f, d, sequence)
}

// Widen tells the programs that a direction speaks HTTP/2. As long as they do not know where its frames
// begin, more crosses than of other connections: heads can be anywhere.
func (v *Vantage) Widen(netns uint32, f *flow.Flow, d stream.Direction) { v.words.widen(netns, f, d) }

// Forget frees the entry of a connection that is over.
func (v *Vantage) Forget(netns uint32, f *flow.Flow) { v.words.forget(netns, f) }

// drainAtOnce bounds one Drain, so that records of the other ring are not kept waiting.
const drainAtOnce = 16384

// Drain gives the segments that wait to a taker. more reports whether some are left.
func (v *Vantage) Drain(to Taker) (more bool) {
	defer v.ring.release(true)
	for range drainAtOnce {
		sample := v.ring.read()
		if sample == nil {
			return false
		}
		v.decoder.Decode(sample, to)
		v.ring.release(false)
	}
	return true
}

// Figures reads the programs' counts.
func (v *Vantage) Figures() (Figures, error) {
	counts, err := v.counts()
	return Figures{
		Segments:  counts.Segments,
		Lost:      counts.Lost,
		Bytes:     counts.Bytes,
		Beyond:    counts.Beyond,
		Displaced: counts.Displaced,
		Unjoined:  counts.Unjoined,
		Waiting:   v.ring.waiting(),
		Ring:      v.ring.size(),
	}, err
}

func (v *Vantage) counts() (sum shared.InspectCounts, err error) {
	perCPU := make([]shared.InspectCounts, ebpf.MustPossibleCPU())
	if err := v.options.Maps["inspect_counts"].Lookup(uint32(0), &perCPU); err != nil {
		return sum, fmt.Errorf("read the counts of segments: %w", err)
	}
	for i := range perCPU {
		sum.Segments += perCPU[i].Segments
		sum.Lost += perCPU[i].Lost
		sum.Bytes += perCPU[i].Bytes
		sum.Beyond += perCPU[i].Beyond
		sum.Displaced += perCPU[i].Displaced
		sum.Unjoined += perCPU[i].Unjoined
	}
	return sum, nil
}

// Close frees everything. It may be called twice.
func (v *Vantage) Close() error {
	err := v.words.close()
	return errors.Join(err, v.ring.close())
}
