// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package look

//lint:file-ignore U1000 staticcheck does not follow methods of generic types behind an interface

import (
	"errors"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// batchHook is BPF_MAP_LOOKUP_BATCH, which hash maps have since 5.6.
const batchHook = "map/lookup_batch"

// batchWay reads the entries of a map in batches, and a reader asks their sockets. V is an
// entry's value, L what the reader takes and returns, R one look.
type batchWay[R, V, L any] struct {
	entries *ebpf.Map
	// reader is nil when nobody asks the sockets: only the entries are known then.
	reader socketReader[L]
	// ask makes what the reader takes, answer makes a look of what it returned.
	ask    func(key uint64, entry *V) L
	answer func(to *R, entry *V, look *L)
	// netns is an entry's network namespace.
	netns func(*V) uint32
	// without is what is lost without a reader.
	without string

	keys    []uint64
	values  []V
	looks   []L
	inNetNS []uint32
}

// socketReader asks sockets.
type socketReader[L any] interface {
	// hook is the kernel's name of what it needs.
	hook() string
	load(*Sources) error
	// begin comes before a pass over all entries.
	begin() error
	// read fills in looks; netns are their sockets' network namespaces.
	read(looks []L, netns []uint32) error
	lacks() shortcoming
	program() *ebpf.Program
	close() error
}

func (w *batchWay[R, V, L]) hooks() []string {
	if w.reader == nil {
		return []string{batchHook}
	}
	return []string{w.reader.hook(), batchHook}
}

// load also reads a batch, for the kernel says only then whether it can.
func (w *batchWay[R, V, L]) load(s *Sources) error {
	w.keys, w.values = make([]uint64, lookBatch), make([]V, lookBatch)
	w.looks, w.inNetNS = make([]L, lookBatch), make([]uint32, lookBatch)
	if _, err := w.next(new(ebpf.MapBatchCursor)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	if w.reader == nil {
		return nil
	}
	return w.reader.load(s)
}

func (w *batchWay[R, V, L]) next(cursor *ebpf.MapBatchCursor) (int, error) {
	n, err := w.entries.BatchLookup(cursor, w.keys, w.values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, &hook.Error{Attempted: "read the entries of a map by", Point: batchHook, Err: capability.Explain(err)}
	}
	return n, err
}

func (w *batchWay[R, V, L]) each(take func(*R)) error {
	if w.reader != nil {
		if err := w.reader.begin(); err != nil {
			return err
		}
	}
	var cursor ebpf.MapBatchCursor
	for {
		n, err := w.next(&cursor)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return err
		}
		if err := w.look(n); err != nil {
			return err
		}
		var r R
		for i := range n {
			w.answer(&r, &w.values[i], &w.looks[i])
			take(&r)
		}
		if last {
			return nil
		}
	}
}

// look asks the sockets of the first n entries.
func (w *batchWay[R, V, L]) look(n int) error {
	for i := range n {
		w.looks[i] = w.ask(w.keys[i], &w.values[i])
		w.inNetNS[i] = w.netns(&w.values[i])
	}
	if w.reader == nil {
		return nil
	}
	return w.reader.read(w.looks[:n], w.inNetNS[:n])
}

func (w *batchWay[R, V, L]) lacks() shortcoming {
	if w.reader == nil {
		return shortcoming{gives: w.without}
	}
	return w.reader.lacks()
}

func (w *batchWay[R, V, L]) program() *ebpf.Program {
	if w.reader == nil {
		return nil
	}
	return w.reader.program()
}

func (w *batchWay[R, V, L]) close() error {
	if w.reader == nil {
		return nil
	}
	return w.reader.close()
}

// lookBatch is how many entries are read at a time; a bucket of a map never has as many.
const lookBatch = 1024

// socketLook is what readers need of a look.
type socketLook interface {
	Entry() [2]uint64
	Finish(shared.LookOutcome)
}
