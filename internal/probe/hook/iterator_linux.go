// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hook

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

// Iterator is a hook that user space runs: a program that walks objects of the kernel, such
// as open files, TCP sockets or the entries of a map.
type Iterator struct {
	Feature, Program, Point, Gives string
	// Over is the map that is walked; nil for the kernel's own objects.
	Over *ebpf.Map

	prog *ebpf.Program
	iter *link.Iter
	err  error
}

// Attach loads and attaches the program, and keeps the error for State.
func (i *Iterator) Attach(o *Object) error {
	if i.err = cmp.Or(o.Host.Excluded.Refuse(i.Point), o.Host.NoBTF); i.err != nil {
		return i.err
	}
	if i.prog, i.err = o.Load(i.Program); i.err != nil {
		i.err = &Error{"load", i.Point, o.ExplainMissing(i.Program, capability.Explain(i.err))}
		return i.err
	}
	if i.iter, i.err = link.AttachIter(link.IterOptions{Program: i.prog, Map: i.Over}); i.err != nil {
		i.err = &Error{"attach", i.Point, capability.Explain(i.err)}
	}
	return i.err
}

// Tried reports whether Attach was called.
func (i *Iterator) Tried() bool { return i.iter != nil || i.prog != nil || i.err != nil }

// Loaded is the program; nil before Attach.
func (i *Iterator) Loaded() *ebpf.Program { return i.prog }

// State describes the iterator as a hook.
func (i *Iterator) State() State {
	state := State{Feature: i.Feature, Name: i.Point, Gives: i.Gives, Attached: i.iter != nil, Err: i.err}
	state.AddStatistics(i.prog)
	return state
}

// Diagnose attaches the iterator, whatever the configuration asks for.
func (i *Iterator) Diagnose(o *Object) FeatureDiagnosis {
	return FeatureDiagnosis{
		Name: i.Feature, Gives: i.Gives, Wanted: true,
		Ways: []WayDiagnosis{NewWayDiagnosis(i.Attach(o), i.Point)},
	}
}

// Close frees the program. It may be called twice.
func (i *Iterator) Close() error {
	var err error
	if i.iter != nil {
		err = i.iter.Close()
		i.iter = nil
	}
	if i.prog != nil {
		err = errors.Join(err, i.prog.Close())
		i.prog = nil
	}
	return err
}

// Each runs the iterator once and passes on every record that it wrote; take may change
// the record. An iterator that is not attached has no records: its State says why.
func Each[T any](i *Iterator, take func(*T)) error {
	if i.iter == nil {
		return nil
	}
	stream, err := i.iter.Open()
	if err != nil {
		return fmt.Errorf("open %s: %w", i.Point, err)
	}
	defer stream.Close()
	if err := eachRecord(stream, take); err != nil {
		return fmt.Errorf("read %s: %w", i.Point, err)
	}
	return nil
}

// streamBytes is what the kernel returns at most per call: eight pages, see bpf_seq_read().
const streamBytes = 8 * 4096

// eachRecord splits the stream into records. Their size is a multiple of 8 bytes, so each
// is aligned in the buffer.
func eachRecord[T any](stream io.Reader, take func(*T)) error {
	var record T
	size := int(unsafe.Sizeof(record))
	buffer := make([]byte, streamBytes+size)
	for filled := 0; ; {
		n, err := stream.Read(buffer[filled:])
		filled += n
		whole := filled - filled%size
		for at := 0; at < whole; at += size {
			take((*T)(unsafe.Pointer(&buffer[at])))
		}
		filled = copy(buffer, buffer[whole:filled])
		switch {
		case err == io.EOF && filled > 0:
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
