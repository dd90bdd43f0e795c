// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package inspect

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Bits of the header of a record in the ring buffer, see kernel/bpf/ringbuf.c.
const (
	recordHeader = 8
	recordBusy   = 1 << 31
	recordVoid   = 1 << 30
	recordAlign  = 8
)

// patience is how often the reader checks a record that a program is writing on another CPU.
const patience = 1000

// ring reads a ring buffer in place. The reader of cilium/ebpf copies each record, with the room
// that a program reserved and did not use. Records are valid until release.
type ring struct {
	// consumer and producer are the mapped memory. The latter has the records twice, so that none
	// is in two parts.
	consumer, producer []byte
	records            []byte
	mask               uint64
	// next is what is read next, released what the programs may overwrite.
	next, released uint64
}

func newRing(m *ebpf.Map) (*ring, error) {
	page, size := os.Getpagesize(), int(m.MaxEntries())
	consumer, err := unix.Mmap(m.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the consumer's page: %w", err)
	}
	producer, err := unix.Mmap(m.FD(), int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the records: %w", err), unix.Munmap(consumer))
	}
	r := &ring{consumer: consumer, producer: producer, records: producer[page:], mask: uint64(size - 1)}
	r.next = atomic.LoadUint64(position(consumer))
	r.released = r.next
	return r, nil
}

// position is the number at the beginning of a page.
func position(page []byte) *uint64 { return (*uint64)(unsafe.Pointer(unsafe.SliceData(page))) }

// read returns the next record; nil if there is none.
func (r *ring) read() []byte {
	for {
		if r.next == atomic.LoadUint64(position(r.producer)) {
			return nil
		}
		at := r.next & r.mask
		length, ok := r.length(at)
		if !ok {
			return nil
		}
		size := uint64(length &^ (recordBusy | recordVoid))
		r.next += recordHeader + (size+recordAlign-1)&^(recordAlign-1)
		if length&recordVoid == 0 {
			at += recordHeader
			return r.records[at : at+size : at+size]
		}
	}
}

// length waits until a record is complete.
func (r *ring) length(at uint64) (uint32, bool) {
	for range patience {
		length := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.records[at])))
		if length&recordBusy == 0 {
			return length, true
		}
	}
	return 0, false
}

// release gives back the room of all records that were read, once it is much or if all is asked
// for: each time costs the programs a look at memory of another CPU.
func (r *ring) release(all bool) {
	if r.next-r.released > r.mask>>3 || all && r.next != r.released {
		atomic.StoreUint64(position(r.consumer), r.next)
		r.released = r.next
	}
}

// waiting is how many bytes wait to be read or released.
func (r *ring) waiting() int {
	return int(atomic.LoadUint64(position(r.producer)) - atomic.LoadUint64(position(r.consumer)))
}

func (r *ring) size() int { return int(r.mask + 1) }

// close may be called twice.
func (r *ring) close() error {
	if r == nil || r.records == nil {
		return nil
	}
	r.records = nil
	err := errors.Join(unix.Munmap(r.consumer), unix.Munmap(r.producer))
	if err != nil {
		return fmt.Errorf("unmap the ring buffer of segments: %w", err)
	}
	return nil
}
