// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sources

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// batch is how many entries one system call reads. One by one takes ten times as long.
const batch = 4096

// reader reads the map of sources.
type reader struct {
	m      *ebpf.Map
	keys   []shared.SourceKey
	values []shared.Source
}

func newReader(m *ebpf.Map) *reader {
	// The kernel hands over whole buckets, which a small map may need all its entries for.
	n := min(batch, int(m.MaxEntries()))
	return &reader{m: m, keys: make([]shared.SourceKey, n), values: make([]shared.Source, n)}
}

// each passes every entry. Both arguments are only valid during the call.
func (r *reader) each(visit func(*shared.SourceKey, *shared.Source)) error {
	var cursor ebpf.MapBatchCursor
	for {
		n, err := r.m.BatchLookup(&cursor, r.keys, r.values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read the sources: %w", err)
		}
		for i := range n {
			visit(&r.keys[i], &r.values[i])
		}
		if err != nil {
			return nil
		}
	}
}

// take deletes an entry to which nothing adds any more, and reads its last value.
func take[V any, K any](m *ebpf.Map, key *K, value *V) error {
	err := m.LookupAndDelete(key, value)
	if err == nil || errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	// Before 5.14 (commit 3e87f192b405) hash maps lack it.
	if err = m.Lookup(key, value); err == nil {
		err = m.Delete(key)
	}
	return err
}
