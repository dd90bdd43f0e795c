// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package look

//lint:file-ignore U1000 staticcheck does not follow methods of generic types behind an interface

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
)

// runHook is a program of BPF_PROG_TYPE_SYSCALL, since 5.14. User space runs it by
// BPF_PROG_RUN whenever it wants to.
const runHook = "prog_run/syscall"

// runReader passes sockets to a program of bpf/sock/look.bpf.c in a map. The program writes
// what they say into the same map.
type runReader[L any] struct {
	// name is the program's, batch the map's.
	name, batch string
	prog        *ebpf.Program
	exchange    *ebpf.Map
	memory      *ebpf.Memory
}

func (r *runReader[L]) hook() string { return runHook }

// load also runs the program once, without a socket.
func (r *runReader[L]) load(s *Sources) error {
	object, err := s.object()
	if err = cmp.Or(err, s.Host.NoBTF); err != nil {
		return err
	}
	if r.exchange, err = ebpf.NewMap(object.Spec.Maps[r.batch]); err != nil {
		return fmt.Errorf("create %s: %w", r.batch, capability.Explain(err, capability.NeedsOfMaps()...))
	}
	if r.memory, err = r.exchange.Memory(); err != nil {
		return fmt.Errorf("map %s into memory: %w", r.batch, err)
	}
	object.Maps[r.batch] = r.exchange
	defer delete(object.Maps, r.batch)
	if r.prog, err = object.Load(r.name); err != nil {
		if errors.Is(err, unix.EINVAL) {
			err = errors.New("this kernel has no programs of that type (Linux 5.14)")
		}
		return &hook.Error{Attempted: "load", Point: runHook, Err: object.ExplainMissing(r.name, capability.Explain(err))}
	}
	return r.run()
}

func (r *runReader[L]) run() error {
	if _, err := r.prog.Run(nil); err != nil {
		return &hook.Error{Attempted: "run", Point: runHook, Err: capability.Explain(err)}
	}
	return nil
}

func (r *runReader[L]) begin() error { return nil }

func (r *runReader[L]) read(looks []L, _ []uint32) error {
	for part := range slices.Chunk(looks, int(r.exchange.MaxEntries())) {
		if err := r.ask(part); err != nil {
			return err
		}
	}
	return nil
}

func (r *runReader[L]) ask(looks []L) error {
	asked := bytesOf(looks)
	_, err := r.memory.WriteAt(asked, 0)
	if len(looks) < int(r.exchange.MaxEntries()) {
		var end [1]L
		_, endErr := r.memory.WriteAt(bytesOf(end[:]), int64(len(asked)))
		err = errors.Join(err, endErr)
	}
	if err == nil {
		err = r.run()
	}
	if err == nil {
		_, err = r.memory.ReadAt(asked, 0)
	}
	if err != nil {
		return fmt.Errorf("read sockets: %w", err)
	}
	return nil
}

// bytesOf is the memory of a slice of records.
func bytesOf[T any](records []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(records))), len(records)*int(unsafe.Sizeof(t)))
}

func (r *runReader[L]) lacks() shortcoming { return shortcoming{} }

func (r *runReader[L]) program() *ebpf.Program { return r.prog }

func (r *runReader[L]) close() error {
	var err error
	if r.prog != nil {
		err = r.prog.Close()
		r.prog = nil
	}
	if r.exchange != nil {
		err = errors.Join(err, r.exchange.Close())
		r.exchange, r.memory = nil, nil
	}
	return err
}
